//! What is asked over HTTP: `streams/NAME` is a stream, whose live parameters may be changed.

use std::sync::atomic::Ordering;

use control::http::{Change, Refusal, Request};
use serde_json::{Map, Value, json};

use super::live::{ENCODED, Live, State};
use crate::info;
use crate::params::Params;
use crate::params::table;

/// Answers a request.
pub(super) fn answer(request: Request, streams: &mut [Live]) {
    match request {
        Request::State(reply) => {
            let each = streams.iter().map(|live| (live.plan.key(), state(live)));
            reply.send(Ok(json!({ "streams": each.collect::<Map<_, _>>() })));
        }
        Request::Metrics(reply) => {
            let streams: Vec<_> = streams.iter().map(|live| (&*live.plan.name, &*live.info)).collect();
            reply.send(Ok(info::metrics(&streams)));
        }
        Request::Change(change, reply) => reply.send(heed(&change, streams)),
    }
}

/// How a stream is, with its parameters as far as they were said.
fn state(live: &Live) -> Value {
    let mut value = live.info.value();
    // Names and values of parameters are always to be had as JSON.
    value["parameters"] = serde_json::to_value(&live.plan.params).unwrap_or_default();
    value
}

fn heed(change: &Change, streams: &mut [Live]) -> Result<(), Refusal> {
    let live = match change.path.as_slice() {
        [streams_, name] if streams_ == "streams" => streams.iter_mut().find(|live| live.plan.key() == *name),
        _ => None,
    };
    let path = change.path.join("/");
    let live =
        live.ok_or_else(|| Refusal::Missing(format!("there is no {path}; streams/NAME can change")))?;
    if live.state == State::Ended {
        return Err(Refusal::Missing(format!("{path} has ended")));
    }
    let mut params = live.plan.params.clone();
    for (name, value) in &change.values {
        take(&mut params, name, value).map_err(Refusal::Invalid)?;
    }
    let named = |names: &[&str]| change.values.keys().any(|name| names.contains(&name.as_str()));
    if named(&ENCODED) {
        let origin = live.orders.origin();
        let origin = origin.ok_or_else(|| Refusal::Invalid("its pictures have not come yet".into()))?;
        let mut plan = live.plan.clone();
        plan.params = params.clone();
        let (settings, warnings) = plan.settings(&origin).map_err(Refusal::Invalid)?;
        for warning in warnings.iter().filter(|warning| named(&[warning.parameter])) {
            live.info.warn(&warning.to_string());
        }
        live.ask(settings);
    }
    if named(&["forceidr"]) && params.is_on("forceidr") {
        live.orders.control.force_key();
        params.clear("forceidr");
    }
    if named(&["active"]) {
        let active = params.is_on("active");
        live.info.active.store(active, Ordering::Release);
        live.orders.control.pause(!active);
    }
    live.plan.params = params;
    Ok(())
}

/// Takes a parameter that may change while the stream runs.
fn take(params: &mut Params, name: &str, value: &Value) -> Result<(), String> {
    let mut one = Params::default();
    one.set(name, value)?;
    match table::find(name) {
        Some(parameter) if parameter.live && parameter.page.has(params.operator()) => params.set(name, value),
        _ => {
            let live = table::TABLE.iter().filter(|other| other.live && other.page.has(params.operator()));
            let names: Vec<_> = live.map(|other| other.name).collect();
            Err(format!("{name}: it cannot change while the stream runs; {} can", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_change_while_the_stream_runs_is_taken() {
        let mut params = Params::default();
        take(&mut params, "avgbitrate", &2.5.into()).unwrap();
        assert_eq!(params.number("avgbitrate"), Some(2.5));
        for (name, value, words) in [
            (
                "videocodec",
                "h265",
                "it cannot change while the stream runs; active, forceidr, fps, avgbitrate",
            ),
            ("avgbitrate", "much", "avgbitrate: "),
            ("colour", "red", "there is no parameter `colour`"),
            ("resolution", "big", "resolution: "),
        ] {
            let error = take(&mut params, name, &value.into()).unwrap_err();
            assert!(error.contains(words), "{name}: {error}");
        }
        params.set("operator", &"audiostreamout".into()).unwrap();
        assert!(take(&mut params, "fps", &25.into()).unwrap_err().contains("active can"));
    }
}
