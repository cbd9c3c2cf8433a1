//! How the streams are, in lines and as JSON.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::live::Live;

/// One line for each stream.
pub(super) fn lines(streams: &[Live]) -> Vec<String> {
    streams.iter().map(line).collect()
}

fn line(live: &Live) -> String {
    let name = &live.plan.name;
    if !live.info.active.load(Ordering::Acquire) {
        return format!("{name}: not active");
    }
    let sent = live.info.sent();
    let mut parts = Vec::new();
    if live.plan.pictures.is_some() {
        let taking = &live.info.taking;
        parts.push(format!(
            "{} pictures, {} late",
            live.info.encoding.pictures.get(),
            taking.dropped.load(Ordering::Relaxed) + taking.missed.load(Ordering::Relaxed)
        ));
    }
    if let Some(sound) = live.info.sound() {
        parts.push(control::display::meter(sound.level.dbfs(), 10));
    }
    parts.push(format!(
        "{} watch, {:.1} ms to the network, {:.1} % lost",
        sent.sessions(),
        sent.last_send_delay.as_secs_f64() * 1e3,
        100.0 * sent.packet_loss_ratio
    ));
    format!("{name}: {}", parts.join("; "))
}

/// What was done, in a line.
pub(super) fn summary(streams: &[Live]) -> String {
    let each = streams.iter().map(|live| {
        let sent = live.info.sent();
        format!(
            "{}: {} pictures, {} packets",
            live.plan.name,
            live.info.encoding.pictures.get(),
            sent.packets
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Every stream by its name, as an event of this kind.
pub(super) fn value(kind: &str, streams: &[Live]) -> Value {
    let each = streams.iter().map(|live| (live.plan.name.clone(), live.info.value()));
    json!({ "type": kind, "streams": each.collect::<Map<_, _>>() })
}
