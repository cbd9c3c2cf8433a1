use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::metrics::Kind;

/// A program with one stream, and its server.
struct Program {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    changes: Arc<Mutex<Vec<Change>>>,
    thread: Option<JoinHandle<()>>,
}

impl Program {
    fn start(token: Option<&str>) -> Self {
        let settings =
            Settings { address: ([127, 0, 0, 1], 0).into(), token: token.map(Into::into), warning: None };
        let server = Server::start(settings).unwrap();
        let (address, stop, changes) = (server.address(), Arc::<AtomicBool>::default(), Arc::default());
        let (stopped, made) = (stop.clone(), Arc::clone(&changes));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                match server.poll() {
                    Some(request) => answer(request, &made),
                    None => std::thread::yield_now(),
                }
            }
        });
        Self { address, stop, changes, thread: Some(thread) }
    }

    /// The status and the body of an answer.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {answer}"));
        (head[9..12].parse().unwrap(), body.into())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    fn send(&self, line: &str, kind: &str, body: &str) -> (u16, String) {
        let length = body.len();
        self.ask(&format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(request: Request, changes: &Mutex<Vec<Change>>) {
    match request {
        Request::State(reply) => {
            reply.send(Ok(json!({ "streams": { "door": { "fps": 30, "urls": ["a", "b"] } } })));
        }
        Request::Metrics(reply) => {
            let mut metrics = Metrics::new();
            metrics.family("up", Kind::Gauge, "It runs.").sample(&[], 1.0);
            reply.send(Ok(metrics));
        }
        Request::Change(change, reply) => {
            reply.send(match change.path.last().map(String::as_str) {
                Some("door") if change.values.contains_key("colour") => {
                    Err(Refusal::Invalid("there is no `colour`".into()))
                }
                // Answered by nobody.
                Some("nobody") => return,
                Some("door") => Ok(()),
                _ => Err(Refusal::Missing("there is no such stream".into())),
            });
            changes.lock().unwrap().push(change);
        }
    }
}

#[test]
fn the_state_is_read_whole_and_in_parts() {
    let program = Program::start(None);
    assert_eq!(program.get("/api"), (200, r#"{"streams":{"door":{"fps":30,"urls":["a","b"]}}}"#.into()));
    assert_eq!(program.get("/api/streams/door/fps"), (200, "30".into()));
    assert_eq!(program.get("/api/streams/door/urls/1"), (200, "\"b\"".into()));
    for path in ["/api/streams/window", "/api/streams/door/urls/2", "/api/streams/door/fps/0"] {
        let (status, body) = program.get(path);
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("there is no streams/"), "{body}");
    }
    assert_eq!(program.get("/").0, 404);
    let (status, body) = program.get("/metrics");
    assert_eq!((status, body.as_str()), (200, "# HELP up It runs.\n# TYPE up gauge\nup 1\n"));
}

#[test]
fn settings_are_changed_and_pulsed() {
    let program = Program::start(None);
    let json = "application/json; charset=utf-8";
    let (status, body) = program.send("PATCH /api/streams/door", json, r#"{"active": false, "fps": 25}"#);
    assert_eq!((status, body.as_str()), (200, r#"{"fps":30,"urls":["a","b"]}"#));
    assert_eq!(program.send("POST /api/streams/door/forceidr", json, "").0, 200);
    let path = vec!["streams".to_string(), "door".to_string()];
    let expected = [json!({ "active": false, "fps": 25 }), json!({ "forceidr": true })];
    let changes = program.changes.lock().unwrap();
    for (change, values) in changes.iter().zip(expected) {
        assert_eq!((&change.path, Value::from(change.values.clone())), (&path, values));
    }
    assert_eq!(changes.len(), 2);
}

#[test]
fn what_is_wrong_is_answered_in_a_line() {
    let program = Program::start(None);
    let json = "application/json";
    for (line, kind, body, status, words) in [
        ("PATCH /api/streams/door", json, r#"{"colour": 1}"#, 400, "there is no `colour`"),
        ("PATCH /api/streams/door", json, "[1]", 400, "one JSON object"),
        ("PATCH /api/streams/door", "text/plain", "{}", 415, "application/json"),
        ("PATCH /api/streams/window", json, "{}", 404, "no such stream"),
        ("PATCH /api/streams/nobody", json, "{}", 503, "busy"),
        ("DELETE /api/streams/door", json, "", 405, "PATCH changes"),
    ] {
        let (answered, text) = program.send(line, kind, body);
        assert!(answered == status && text.contains(words), "{line}: {answered} {text}");
    }
}

#[test]
fn strangers_are_sent_away() {
    let open = Program::start(None);
    assert_eq!(open.ask("GET /api HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").0, 403);
    let kept = Program::start(Some("0123456789abcdef"));
    assert_eq!(kept.get("/metrics").0, 401);
    // They are not asked again, on a connection that they would keep.
    for (program, status) in [(&open, 403), (&kept, 401)] {
        let (answered, rest) = program.ask(&"GET /api HTTP/1.1\r\nHost: evil.example\r\n\r\n".repeat(2));
        assert_eq!((answered, rest.matches("HTTP/1.1").count()), (status, 0));
    }
    let with =
        "GET /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n";
    assert_eq!(kept.ask(with).0, 200);
}

#[test]
fn what_the_settings_lack_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "# Ours.\n0123456789abcdef\n").unwrap();
    let settings = Settings::new("0.0.0.0:80", Some(&path)).unwrap();
    assert_eq!(settings.token.as_deref(), Some("0123456789abcdef"));
    assert_eq!(Settings::new("8080", None).unwrap().address, ([127, 0, 0, 1], 8080).into());
    for (address, token, words) in [
        ("0.0.0.0:80", None, "only with a token"),
        ("[::]:80", None, "only with a token"),
        ("nonsense", None, "write ADDRESS:PORT"),
        ("80", Some("short"), "16 characters"),
        ("80", Some("two words that are long enough"), "one word"),
    ] {
        let file = token.map(|token| {
            std::fs::write(&path, token).unwrap();
            path.as_path()
        });
        let error = Settings::new(address, file).expect_err(words);
        assert!(error.contains(words), "{error}");
    }
    let missing = Settings::new("80", Some(&folder.path().join("none"))).unwrap_err();
    assert!(missing.starts_with("--http-token"), "{missing}");
}

#[test]
fn a_server_that_is_dropped_frees_its_port_though_somebody_holds_a_connection() {
    let settings = Settings { address: ([127, 0, 0, 1], 0).into(), token: None, warning: None };
    let server = Server::start(settings).unwrap();
    let address = server.address();
    let mut held = TcpStream::connect(address).unwrap();
    held.write_all(b"GET /api HTTP/1.1\r\n").unwrap();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}
