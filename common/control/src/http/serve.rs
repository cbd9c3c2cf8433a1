//! The server's thread: connections, routes, and what becomes of a request on its way to the control thread and back.

use std::net;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Request as HttpRequest, State};
use axum::http::header::{CONNECTION as CONNECTION_HEADER, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::gate::{self, Refused};
use super::{Change, Refusal, Reply, Request};
use crate::metrics;

/// Connections at a time; others wait to be taken.
const CONNECTIONS: usize = 64;
/// How long a request's headers may take, and a connection may stay without one.
const HEADERS: Duration = Duration::from_secs(10);
/// How long a connection may stay at all, so that nobody holds one for good.
const CONNECTION: Duration = Duration::from_secs(120);
/// How long the request that is under way then may still take, lest its body never ends.
const LAST: Duration = Duration::from_secs(10);
/// How long the control thread may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Octets of the longest body.
const BODY: usize = 64 * 1024;
/// The system has no descriptors for another connection: until it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// What every request needs.
#[derive(Clone)]
struct Desk {
    token: Option<Arc<str>>,
    requests: SyncSender<Request>,
}

/// The thread: serves until the other end of `stopped` is dropped.
pub(super) fn run(
    runtime: &Runtime,
    listener: net::TcpListener,
    token: Option<String>,
    requests: SyncSender<Request>,
    stopped: oneshot::Receiver<()>,
) {
    let router = router(Desk { token: token.map(Into::into), requests });
    runtime.block_on(async {
        // It was made fit for this when it was bound.
        if let Ok(listener) = TcpListener::from_std(listener) {
            tokio::spawn(accept(listener, router));
            let _ = stopped.await;
        }
    });
}

async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let _place = place;
                    converse(stream, router).await;
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    if timeout(CONNECTION, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        // However it ends, it has ended.
        let _ = timeout(LAST, connection).await;
    }
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/metrics", get(figures))
        .route("/api", get(whole).patch(change_whole))
        .route("/api/{*path}", get(part).patch(change_part).merge(post(pulse)))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there are /api and /metrics") })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "GET reads, PATCH changes, POST pulses")
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(desk.clone(), enter))
        .with_state(desk)
}

async fn enter(State(desk): State<Desk>, request: HttpRequest<Body>, next: Next) -> Response {
    let refusal = match gate::admit(desk.token.as_deref(), request.headers()) {
        Ok(()) => return next.run(request).await,
        Err(Refused::Token) => {
            let refusal = error(StatusCode::UNAUTHORIZED, "bring the token: Authorization: Bearer TOKEN");
            ([("www-authenticate", "Bearer")], refusal).into_response()
        }
        Err(Refused::Elsewhere) => error(
            StatusCode::FORBIDDEN,
            "without a token, only programs of this computer are answered, by its name localhost",
        ),
    };
    // A stranger has no place to keep.
    ([(CONNECTION_HEADER, "close")], refusal).into_response()
}

async fn figures(State(desk): State<Desk>) -> Response {
    match ask(&desk, Request::Metrics).await {
        Ok(metrics) => ([(CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics.text().to_string()).into_response(),
        Err(refusal) => refusal,
    }
}

async fn whole(State(desk): State<Desk>) -> Response {
    state(&desk, &[]).await
}

async fn part(State(desk): State<Desk>, Path(path): Path<String>) -> Response {
    state(&desk, &members(&path)).await
}

async fn change_whole(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    patch(&desk, Vec::new(), &headers, &body).await
}

async fn change_part(
    State(desk): State<Desk>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    patch(&desk, members(&path), &headers, &body).await
}

async fn patch(desk: &Desk, path: Vec<String>, headers: &HeaderMap, body: &[u8]) -> Response {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "settings come as Content-Type: application/json");
    }
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(values) => change(desk, Change { path, values }).await,
        Err(reason) => error(StatusCode::BAD_REQUEST, &format!("settings come as one JSON object: {reason}")),
    }
}

async fn pulse(State(desk): State<Desk>, Path(path): Path<String>) -> Response {
    let mut path = members(&path);
    let Some(name) = path.pop() else { return error(StatusCode::NOT_FOUND, "there is no such setting") };
    change(&desk, Change { path, values: Map::from_iter([(name, Value::Bool(true))]) }).await
}

async fn change(desk: &Desk, change: Change) -> Response {
    let path = change.path.clone();
    match ask(desk, |reply| Request::Change(change, reply)).await {
        Ok(()) => state(desk, &path).await,
        Err(refusal) => refusal,
    }
}

async fn state(desk: &Desk, path: &[String]) -> Response {
    let whole = match ask(desk, Request::State).await {
        Ok(whole) => whole,
        Err(refusal) => return refusal,
    };
    let found = path.iter().try_fold(&whole, |value, member| match value {
        Value::Array(items) => items.get(member.parse::<usize>().ok()?),
        value => value.get(member),
    });
    match found {
        Some(value) => axum::Json(value).into_response(),
        None => error(StatusCode::NOT_FOUND, &format!("there is no {}", path.join("/"))),
    }
}

/// The members that a path names.
fn members(path: &str) -> Vec<String> {
    path.split('/').filter(|member| !member.is_empty()).map(Into::into).collect()
}

/// Has the control thread answer.
async fn ask<T>(desk: &Desk, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Response> {
    let (reply, answer) = oneshot::channel();
    let busy = || error(StatusCode::SERVICE_UNAVAILABLE, "the program is busy: try again");
    desk.requests.try_send(request(Reply(reply))).map_err(|_| busy())?;
    match timeout(PATIENCE, answer).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(Refusal::Missing(reason)))) => Err(error(StatusCode::NOT_FOUND, &reason)),
        Ok(Ok(Err(Refusal::Invalid(reason)))) => Err(error(StatusCode::BAD_REQUEST, &reason)),
        _ => Err(busy()),
    }
}

fn error(status: StatusCode, reason: &str) -> Response {
    (status, axum::Json(json!({ "error": reason }))).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[test]
    fn who_is_answered_when_the_time_of_a_connection_is_over_gets_the_whole_answer() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let (ours, theirs) = tokio::io::duplex(4096);
            // Seven seconds for each answer, one after another: the last is under way from 119 to 126 s.
            let slow = get(|| async {
                sleep(Duration::from_secs(7)).await;
                "done"
            });
            let served = tokio::spawn(converse(theirs, Router::new().route("/", slow)));
            let (mut reads, mut writes) = tokio::io::split(ours);
            for _ in 0..40 {
                writes.write_all(REQUEST).await.unwrap();
            }
            let mut answers = String::new();
            reads.read_to_string(&mut answers).await.unwrap();
            assert_eq!(answers.matches("done").count(), 18);
            assert!(answers.ends_with("done"));
            served.await.unwrap();
        });
    }

    #[test]
    fn a_body_that_never_ends_holds_no_connection() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let (mut ours, theirs) = tokio::io::duplex(4096);
            let served = tokio::spawn(converse(theirs, Router::new().route("/", post(|_: Bytes| async {}))));
            ours.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n").await.unwrap();
            let begun = tokio::time::Instant::now();
            served.await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), (CONNECTION + LAST).as_secs());
        });
    }
}
