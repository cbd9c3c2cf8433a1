//! The receiver's state, for people and for programs.

use std::sync::atomic::Ordering;

use audio::receive::StreamInfo;
use control::display::meter;
use serde_json::{Map, Value, json};

use crate::Receiver;

/// One line.
pub(crate) fn line(receiver: &Receiver, stream: Option<&StreamInfo>) -> String {
    let Some(stream) = stream else {
        return "waiting for a stream".to_string() + &trouble(receiver);
    };
    let counters = &receiver.counters;
    let packets = counters.packets.get();
    let lost = counters.lost.get();
    let name = if stream.name.as_str().is_empty() { "stream" } else { stream.name.as_str() };
    let depth = counters.depth.get() as f64 * 1e3 / f64::from(stream.rate);
    let repaired = counters.retransmitted.get() + counters.rebuilt.get();
    let loss = 100.0 * lost as f64 / (packets + lost).max(1) as f64;
    format!(
        "{name} from {}  {}  {packets} packets, {repaired} repaired  loss {loss:.1} % ({lost})  latency {:.1} ms  depth {depth:.1} ms{}{}",
        stream.from,
        meter(counters.level.dbfs(), 12),
        receiver.thread_counters.latency_us.get() as f64 / 1e3,
        drift(receiver),
        trouble(receiver),
    )
}

fn drift(receiver: &Receiver) -> String {
    match receiver.counters.drift_ppm() {
        0.0 => String::new(),
        ppm => format!("  drift {ppm:+.0} ppm"),
    }
}

fn trouble(receiver: &Receiver) -> String {
    let playback = receiver.playback();
    let rejected: u64 = receiver.counters.rejects().map(|(_, count)| count).sum();
    let counts = [
        (rejected, "refused"),
        (receiver.counters.conflicts.get(), "from other senders"),
        (receiver.counters.overflowed.get(), "overflowed"),
        (playback.map_or(0, |playback| playback.xruns.get()), "xruns"),
    ];
    let counts: String = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("  {count} {what}"))
        .collect();
    if receiver.lost() { counts + "  the output is gone" } else { counts }
}

/// The same for programs.
pub(crate) fn value(kind: &str, receiver: &Receiver, stream: Option<&StreamInfo>) -> Value {
    let counters = &receiver.counters;
    let thread = &receiver.thread_counters;
    let level = counters.level.dbfs();
    let rejected: Map<String, Value> =
        counters.rejects().map(|(reason, count)| (reason.into(), count.into())).collect();
    json!({
        "type": kind,
        "stream": stream.map(stream_value),
        "packets": counters.packets.get(),
        "octets": counters.octets.get(),
        "lost": counters.lost.get(),
        "late": counters.late.get(),
        "requested": counters.requested.get(),
        "retransmitted": counters.retransmitted.get(),
        "rebuilt": counters.rebuilt.get(),
        "duplicates": counters.duplicates.get(),
        "overflowed": counters.overflowed.get(),
        "frames": counters.frames.get(),
        "concealed_frames": counters.concealed_frames.get(),
        "realigned": counters.realigned.get(),
        "streams": counters.streams.get(),
        "conflicts": counters.conflicts.get(),
        "rejected": rejected,
        "depth_frames": counters.depth.get(),
        "jitter_ms": counters.jitter_ns.get() as f64 / 1e6,
        "latency_ms": thread.latency_us.get() as f64 / 1e3,
        "drift_ppm": counters.drift_ppm(),
        // JSON has no infinities: silence has no level.
        "level_dbfs": level.is_finite().then_some(level),
        "realtime": thread.realtime.load(Ordering::Acquire),
        "playback": receiver.playback().map(|playback| json!({
            "callbacks": playback.callbacks.get(),
            "missing_frames": playback.missing.get(),
            "xruns": playback.xruns.get(),
            "rebuilt": receiver.rebuilt(),
            "lost": receiver.lost(),
            "device_latency_ms": playback.latency_us.get() as f64 / 1e3,
        })),
    })
}

pub(crate) fn stream_value(stream: &StreamInfo) -> Value {
    json!({
        "from": stream.from.to_string(),
        "name": stream.name.as_str(),
        "codec": stream.codec.name(),
        "channels": stream.channels,
        "map": stream.map.as_str(),
        "rate": stream.rate,
        "wire": stream.wire.name(),
    })
}
