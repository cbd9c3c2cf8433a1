//! The sender's state, for people and for programs.

use std::sync::atomic::Ordering;

use audio::send::Policy;
use control::display::meter;
use serde_json::{Value, json};

use crate::Sender;
use crate::book::{Active, Book};
use crate::groups::Group;

/// Receivers report every second; what one said longer ago than this is no longer true, in seconds.
const REPORT_PATIENCE: i64 = 4;

/// What does not change while the sender runs.
pub(crate) struct Source {
    pub(crate) description: String,
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    pub(crate) length: Option<u64>,
}

/// Whether a client plays when it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It says that it does.
    InSync,
    /// It needs longer than its group's delay at present.
    Late,
    /// It needs longer than its group's delay may become.
    CannotKeepUp,
    /// It goes by the arrivals of its packets.
    Alone,
}

impl State {
    /// Of a client that has reported of late.
    pub(crate) fn of(active: &Active, policy: Option<Policy>) -> Self {
        let counters = &active.counters;
        let most = policy.filter(|_| active.group.is_some()).map(|policy| u64::from(policy.most()));
        if most.is_some_and(|most| counters.wanted_us.get() > most) {
            Self::CannotKeepUp
        } else if counters.late.get() > 0 {
            Self::Late
        } else if counters.synced.get() > 0 {
            Self::InSync
        } else {
            Self::Alone
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::InSync => "in sync",
            Self::Late => "late",
            Self::CannotKeepUp => "cannot keep up",
            Self::Alone => "alone",
        }
    }
}

/// A line for the source, one for each group and one for each client.
pub(crate) fn lines(source: &Source, sender: &Sender, book: &Book) -> Vec<String> {
    let mut lines = vec![source_line(source, sender)];
    lines.extend(book.groups().into_iter().filter_map(group_line));
    lines.extend(book.active().iter().map(|active| client_line(active, book.policy())));
    lines
}

fn source_line(source: &Source, sender: &Sender) -> String {
    let seconds = |frames: u64| {
        let seconds = frames / u64::from(source.rate);
        format!("{}:{:02}", seconds / 60, seconds % 60)
    };
    let frames = sender.capture.frames.get();
    let progress = match source.length {
        Some(length) => {
            let share = 100 * frames.min(length) / length.max(1);
            format!("{} of {} ({share} %)", seconds(frames.min(length)), seconds(length))
        }
        None => seconds(frames),
    };
    let mut line = format!("{}: {progress}", source.description);
    for (count, what) in [
        (sender.capture.xruns.get(), "xruns"),
        (sender.capture.dropped.get(), "frames dropped"),
        (sender.counters.unsent.get(), "datagrams not sent"),
    ] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    if sender.lost() {
        line += ", the device is gone";
    }
    line
}

/// Nothing where no member is heard.
fn group_line(group: &Group) -> Option<String> {
    let (delay, members) = (group.counters.delay_us.get(), group.counters.members.get());
    let delay = delay as f64 / 1e3;
    (members > 0)
        .then(|| format!("  group {}: {members} members, {delay:.1} ms from capture to DAC", group.name))
}

fn client_line(active: &Active, policy: Option<Policy>) -> String {
    let counters = &active.counters;
    let mut line = format!(
        "  {:<16} {:<22} {:<10} {:<5} {}  {} packets",
        active.client.name,
        active.address.to_string(),
        active.sound(),
        active.spec.codec().name(),
        meter(counters.level.dbfs(), 12),
        counters.packets.get(),
    );
    if active.address.ip().is_multicast() {
        line += &format!("  {} listeners", counters.listeners.get());
    }
    let silence = silence(active);
    if let Some(seconds) = silence.filter(|seconds| *seconds > REPORT_PATIENCE) {
        line += &format!("  no report for {seconds} s");
    } else if silence.is_some() {
        line += &format!(
            "  loss {:.1} % ({}, {} after repair)  rtt {:.1} ms  latency {:.1} ms",
            counters.fraction_lost.get() as f64 / 2.56,
            counters.lost.get(),
            counters.unrepaired.get(),
            counters.round_trip_us.get() as f64 / 1e3,
            counters.latency_us.get() as f64 / 1e3,
        );
        match State::of(active, policy) {
            State::Alone => {}
            State::InSync => {
                let micros = |nanos: i64| nanos as f64 / 1e3;
                let (mean, worst) = (micros(counters.error_ns.get()), micros(counters.worst_error_ns.get()));
                line += &format!("  in sync {mean:+.0} µs (worst {worst:+.0})");
            }
            state => line += &format!("  {}", state.name()),
        }
    }
    if let Some(remedy) = counters.secrecy().remedy() {
        line += &format!("  {remedy}");
    }
    line
}

/// Seconds since the last report came; `None` before the first.
fn silence(active: &Active) -> Option<i64> {
    let counters = &active.counters;
    let since = os::clock::now().0 - counters.reported_at.get() as i64;
    (counters.reports.get() > 0).then_some(since / 1_000_000_000)
}

/// The same for programs.
pub(crate) fn value(kind: &str, source: &Source, sender: &Sender, book: &Book) -> Value {
    json!({
        "type": kind,
        "source": {
            "name": source.description,
            "rate": source.rate,
            "channels": source.channels,
            "length_frames": source.length,
            "frames": sender.capture.frames.get(),
            "dropped_frames": sender.capture.dropped.get(),
            "xruns": sender.capture.xruns.get(),
            "rebuilt": sender.rebuilt(),
            "lost": sender.lost(),
        },
        "datagrams": sender.counters.datagrams.get(),
        "send_calls": sender.counters.calls.get(),
        "blocks": sender.counters.blocks.get(),
        "late_blocks": sender.counters.late_blocks.get(),
        "unsent": sender.counters.unsent.get(),
        "realtime": sender.counters.realtime.load(Ordering::Acquire),
        "groups": book.groups().into_iter().map(group_value).collect::<Vec<_>>(),
        "clients": book.active().iter().map(|active| client_value(active, book.policy())).collect::<Vec<_>>(),
    })
}

fn group_value(group: &Group) -> Value {
    let delay = group.counters.delay_us.get();
    json!({
        "name": group.name,
        "delay_ms": (delay > 0).then(|| delay as f64 / 1e3),
        "members": group.counters.members.get(),
    })
}

fn client_value(active: &Active, policy: Option<Policy>) -> Value {
    let counters = &active.counters;
    let level = counters.level.dbfs();
    let reported = silence(active).is_some_and(|seconds| seconds <= REPORT_PATIENCE);
    let state = State::of(active, policy);
    let timed = reported && state != State::Alone;
    json!({
        "name": active.client.name,
        "address": active.address.to_string(),
        "second_address": active.second.map(|second| second.to_string()),
        "channels": active.client.map.to_string(),
        "test": active.client.test,
        "wire": active.spec.wire.name(),
        "codec": active.spec.codec().name(),
        "frames": active.spec.packet_frames(),
        "packets": counters.packets.get(),
        "octets": counters.octets.get(),
        "unsent": counters.unsent.get(),
        // JSON has no infinities: silence has no level.
        "level_dbfs": level.is_finite().then_some(level),
        "listeners": active.address.ip().is_multicast().then(|| counters.listeners.get()),
        "loss": reported.then(|| counters.fraction_lost.get() as f64 / 256.0),
        "lost": reported.then(|| counters.lost.get()),
        "unrepaired": reported.then(|| counters.unrepaired.get()),
        "asked": counters.asked.get(),
        "resent": counters.resent.get(),
        "refused": counters.refused.get(),
        "parity": counters.parity.get(),
        "round_trip_ms": reported.then(|| counters.round_trip_us.get() as f64 / 1e3),
        "latency_ms": reported.then(|| counters.latency_us.get() as f64 / 1e3),
        "secrecy": counters.secrecy().name(),
        "refused_reports": counters.refused_reports.get(),
        "group": active.group.as_ref().map(|group| &group.name),
        "state": reported.then(|| state.name()),
        "needs_ms": reported.then(|| counters.wanted_us.get() as f64 / 1e3),
        "playout_error_us": timed.then(|| counters.error_ns.get() as f64 / 1e3),
        "worst_playout_error_us": timed.then(|| counters.worst_error_ns.get() as f64 / 1e3),
        "drift_ppm": reported.then(|| counters.drift_ppb.get() as f64 / 1e3),
        "concealed_frames": reported.then(|| counters.concealed.get()),
    })
}
