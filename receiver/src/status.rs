//! The receiver's state, for people and for programs.

use std::sync::atomic::Ordering;

use audio::counters::PATHS;
use audio::receive::{Path, StreamInfo};
use control::display::meter;
use serde_json::{Map, Value, json};

use crate::Receiver;

/// The paths that a stream comes by, where there are two.
pub(crate) type Paths = [Option<Path>; PATHS];

/// How playback goes along with other speakers.
pub(crate) const IN_SYNC: &str = "in sync";
pub(crate) const LATE: &str = "late";
pub(crate) const ALONE: &str = "alone";

fn state(receiver: &Receiver) -> &'static str {
    let counters = &receiver.counters;
    match (counters.synced.get(), counters.late_for_group.get()) {
        (0, _) => ALONE,
        (_, 0) => IN_SYNC,
        _ => LATE,
    }
}

/// One line.
pub(crate) fn line(receiver: &Receiver, stream: Option<&StreamInfo>, paths: &Paths) -> String {
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
        "{name} from {}  {}  {packets} packets, {repaired} repaired  loss {loss:.1} % ({lost})  latency {:.1} ms  depth {depth:.1} ms{}{}{}{}",
        stream.from,
        meter(counters.level.dbfs(), 12),
        receiver.thread_counters.latency_us.get() as f64 / 1e3,
        by_paths(receiver, paths),
        sync(receiver),
        drift(receiver),
        trouble(receiver),
    )
}

/// How many of the packets each path lost, or that it is silent.
fn by_paths(receiver: &Receiver, paths: &Paths) -> String {
    let mut text = String::new();
    for path in paths.iter().flatten() {
        let counters = &receiver.counters.paths[path.number];
        let (packets, lost) = (counters.packets.get(), counters.lost.get());
        let share = 100.0 * lost as f64 / (packets + lost).max(1) as f64;
        text += &match path.lives {
            true => format!("  path {} loss {share:.1} % ({lost})", path.number + 1),
            false => format!("  path {} silent", path.number + 1),
        };
    }
    text
}

fn sync(receiver: &Receiver) -> String {
    let counters = &receiver.counters;
    let micros = |nanos: i64| nanos as f64 / 1e3;
    let (mean, worst) = (micros(counters.playout_error.get()), micros(counters.worst_playout_error.get()));
    match state(receiver) {
        ALONE => String::new(),
        state => format!("  {state} {mean:+.0} µs (worst {worst:+.0})"),
    }
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
        (receiver.counters.unwelcome.get(), "from others than --from"),
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
pub(crate) fn value(kind: &str, receiver: &Receiver, stream: Option<&StreamInfo>, paths: &Paths) -> Value {
    let counters = &receiver.counters;
    let thread = &receiver.thread_counters;
    let level = counters.level.dbfs();
    let synced = counters.synced.get() > 0;
    let rejected: Map<String, Value> =
        counters.rejects().map(|(reason, count)| (reason.into(), count.into())).collect();
    json!({
        "type": kind,
        "stream": stream.map(stream_value),
        "datagrams": counters.datagrams.get(),
        "accepted": counters.accepted.get(),
        "copies": counters.copies.get(),
        "packets": counters.packets.get(),
        "octets": counters.octets.get(),
        "lost": counters.lost.get(),
        "late": counters.late.get(),
        "requested": counters.requested.get(),
        "retransmitted": counters.retransmitted.get(),
        "rebuilt": counters.rebuilt.get(),
        "duplicates": counters.duplicates.get(),
        "paths": paths_value(receiver, paths),
        "overflowed": counters.overflowed.get(),
        "frames": counters.frames.get(),
        "concealed_frames": counters.concealed_frames.get(),
        "realigned": counters.realigned.get(),
        "streams": counters.streams.get(),
        "conflicts": counters.conflicts.get(),
        "unproven": counters.unproven.get(),
        "unwelcome": counters.unwelcome.get(),
        "rejected": rejected,
        "depth_frames": counters.depth.get(),
        "jitter_ms": counters.jitter_ns.get() as f64 / 1e6,
        "latency_ms": thread.latency_us.get() as f64 / 1e3,
        "state": state(receiver),
        "group_delay_ms": synced.then(|| counters.group_delay_us.get() as f64 / 1e3),
        "playout_error_us": synced.then(|| counters.playout_error.get() as f64 / 1e3),
        "worst_playout_error_us": synced.then(|| counters.worst_playout_error.get() as f64 / 1e3),
        "round_trip_ms": counters.round_trip_us.get() as f64 / 1e3,
        "drift_ppm": counters.drift_ppm(),
        // JSON has no infinities: silence has no level.
        "level_dbfs": level.is_finite().then_some(level),
        "realtime": thread.realtime.load(Ordering::Acquire),
        "playback": playback_value(receiver),
    })
}

fn paths_value(receiver: &Receiver, paths: &Paths) -> Value {
    let value = |path: &Path| {
        let counters = &receiver.counters.paths[path.number];
        json!({
            "from": path.address.to_string(),
            "lives": path.lives,
            "packets": counters.packets.get(),
            "lost": counters.lost.get(),
        })
    };
    paths.iter().flatten().map(value).collect()
}

fn playback_value(receiver: &Receiver) -> Option<Value> {
    receiver.playback().map(|playback| {
        json!({
            "callbacks": playback.callbacks.get(),
            "missing_frames": playback.missing.get(),
            "xruns": playback.xruns.get(),
            "rebuilt": receiver.rebuilt(),
            "lost": receiver.lost(),
            "device_latency_ms": playback.latency_us.get() as f64 / 1e3,
        })
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
