//! How the streams are, in lines and as JSON.

use std::sync::atomic::Ordering;

use serde::{Serialize, Serializer};

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

/// Every stream by its name, as an event.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    r#type: &'static str,
    #[serde(serialize_with = "by_name")]
    streams: &'a [Live],
}

/// An event of this kind.
pub(super) fn event<'a>(kind: &'static str, streams: &'a [Live]) -> Event<'a> {
    Event { r#type: kind, streams }
}

fn by_name<S: Serializer>(streams: &[Live], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(streams.iter().map(|live| (&live.plan.name, live.info.state())))
}
