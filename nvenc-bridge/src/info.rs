//! What a stream tells of itself: the Info channels of both operators, a state for people and scripts, figures for Prometheus.
//!
//! Each page of counters has one writer: the thread that takes pictures, the one that encodes, the one that sends. What is in
//! words comes from the control thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audio::counters::Counter;
use control::metrics::{Kind, Metrics};
use proto::units::Mono;
use serde_json::{Map, Value, json};

use crate::encode::{EncodedPicture, Warning};
use crate::picture::{Rate, Size};
use crate::sound::{self, Track};

/// Errors that are kept in words.
const ERRORS: usize = 16;
/// How long a receiver's loss is remembered: RTCP's shortest usual interval (RFC 3550, 6.2).
const LOSS_INTERVAL: i64 = 5_000_000_000;
/// A ratio in a counter.
const MILLION: f64 = 1e6;

/// Info channels of the pages of both operators that say nothing here, and why.
pub const WITHOUT: &[(&str, &str)] = &[
    ("cook_abs_frame", "there is no timeline; `total_cooks` counts pictures"),
    ("cook_end_time", "there is no timeline; pictures come when they come"),
    ("cook_frame", "there is no timeline; `total_cooks` counts pictures"),
    ("cook_start_time", "there is no timeline; pictures come when they come"),
    ("cooked_this_frame", "there is no timeline; `total_cooks` counts pictures"),
    ("depth", "pictures have two dimensions"),
    ("export_sernum", "nothing is exported"),
    ("gpu_memory_used", "pictures do not lie on the GPU; the driver tells of its encoder's memory"),
];

/// What the thread that takes pictures counts.
#[derive(Debug, Default)]
pub struct Taking {
    /// Pictures that came.
    pub pictures: Counter,
    /// Those that came too late and were left out.
    pub dropped: Counter,
}

/// What the thread that encodes counts.
#[derive(Debug, Default)]
pub struct Encoding {
    /// Pictures in bits.
    pub pictures: Counter,
    /// Those of them at which a decoder can start.
    pub keys: Counter,
    /// Octets of all.
    pub octets: Counter,
    last_ns: Counter,
    width: Counter,
    height: Counter,
    rate: Counter,
    aspect: Counter,
}

impl Encoding {
    /// An encoder was opened, or changed: what it makes from now on.
    pub fn begin(&self, size: Size, rate: Rate, aspect: Option<(u32, u32)>) {
        let pair = |(upper, lower): (u32, u32)| u64::from(upper) << 32 | u64::from(lower);
        self.width.set(size.width.into());
        self.height.set(size.height.into());
        self.rate.set(pair((rate.pictures, rate.seconds)));
        self.aspect.set(pair(aspect.unwrap_or((size.width, size.height))));
    }

    /// A picture is encoded.
    pub fn note(&self, picture: &EncodedPicture) {
        self.pictures.add(1);
        self.keys.add(picture.key.into());
        self.octets.add(picture.data.len() as u64);
        self.last_ns.set(picture.took.as_nanos() as u64);
    }
}

/// What the thread that sends counts.
#[derive(Debug, Default)]
pub struct Sending {
    /// Those who watch or listen, as a gauge.
    pub clients: Counter,
    /// Datagrams, or packets within a connection, to all of them together.
    pub packets: Counter,
    /// Octets in them.
    pub octets: Counter,
    /// Pictures that a client did not get because it was too slow, of all clients.
    pub withheld: Counter,
    delay_ns: Counter,
    loss: Mutex<Loss>,
}

/// The worst loss that a receiver told of in this interval, and in the one before.
#[derive(Debug, Default)]
struct Loss {
    former: f64,
    current: f64,
    ends: Mono,
}

impl Loss {
    fn turn(&mut self, now: Mono) {
        if now >= self.ends {
            let long_ago = now.since(self.ends) >= LOSS_INTERVAL;
            self.former = if long_ago { 0.0 } else { self.current };
            self.current = 0.0;
            self.ends = now.plus(LOSS_INTERVAL);
        }
    }
}

impl Sending {
    /// The last packet of a picture that was taken at `at` has gone to the last of its clients by `now`.
    pub fn note_sent(&self, at: Duration, now: Mono) {
        let now = Duration::from_nanos(u64::try_from(now.0).unwrap_or(0));
        self.delay_ns.set(now.saturating_sub(at).as_nanos() as u64);
    }

    /// A receiver has told of its loss since it last did, as RTCP's fraction lost (RFC 3550, 6.4.1); or so much was withheld
    /// of what was to go into a connection. 0 to 1.
    pub fn note_loss(&self, ratio: f64, now: Mono) {
        let mut loss = lock(&self.loss);
        loss.turn(now);
        loss.current = loss.current.max(ratio.clamp(0.0, 1.0));
    }

    fn loss(&self, now: Mono) -> f64 {
        let mut loss = lock(&self.loss);
        loss.turn(now);
        loss.former.max(loss.current)
    }
}

/// What a stream tells of itself.
#[derive(Debug, Default)]
pub struct Info {
    /// Whether it is served: the `active` parameter.
    pub active: AtomicBool,
    /// Pictures that come in.
    pub taking: Taking,
    /// Pictures that are encoded.
    pub encoding: Encoding,
    /// What goes out.
    pub sending: Sending,
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    encoder: String,
    urls: Vec<String>,
    warnings: Vec<String>,
    errors: u64,
    last_errors: VecDeque<String>,
    sound: Option<(Track, String, Arc<sound::Counters>)>,
}

impl Info {
    /// Says which encoder is at work, and what it does otherwise than asked, in place of what was said before.
    pub fn set_encoder(&self, name: &str, warnings: &[Warning]) {
        let mut words = lock(&self.words);
        words.encoder = name.into();
        words.warnings =
            warnings.iter().map(|warning| format!("{}: {}", warning.parameter, warning.message)).collect();
    }

    /// Adds a warning to those that stand until the next encoder.
    pub fn warn(&self, text: &str) {
        let mut words = lock(&self.words);
        if !words.warnings.iter().any(|warning| warning == text) {
            words.warnings.push(text.into());
        }
    }

    /// Adds an error, and keeps the last ones in words.
    pub fn note_error(&self, text: &str) {
        let mut words = lock(&self.words);
        words.errors += 1;
        if words.last_errors.len() == ERRORS {
            words.last_errors.pop_front();
        }
        words.last_errors.push_back(text.into());
    }

    /// Says where players find it.
    pub fn set_urls(&self, urls: Vec<String>) {
        lock(&self.words).urls = urls;
    }

    /// Says which track of sound goes along, if one does.
    pub fn set_sound(&self, sound: Option<&sound::Sound>) {
        let sound =
            sound.map(|sound| (sound.track.clone(), sound.description.clone(), sound.counters.clone()));
        lock(&self.words).sound = sound;
    }

    /// The Info channels, by the names of the operators' pages. Those of the sound are there where a track is; those that say
    /// nothing here are in [`WITHOUT`].
    pub fn channels(&self, now: Mono) -> Vec<(&'static str, f64)> {
        let millis = |nanos: &Counter| nanos.get() as f64 / 1e6;
        let words = lock(&self.words);
        let encoding = &self.encoding;
        let aspect = encoding.aspect.get();
        let encode_time = millis(&encoding.last_ns);
        let mut channels = vec![
            ("last_encode_time", encode_time),
            ("last_send_delay", millis(&self.sending.delay_ns)),
            ("packet_loss_ratio", self.sending.loss(now)),
            ("resx", encoding.width.get() as f64),
            ("resy", encoding.height.get() as f64),
            ("aspectx", (aspect >> 32) as f64),
            ("aspecty", f64::from(aspect as u32)),
            ("total_cooks", encoding.pictures.get() as f64),
            ("cook_time", encode_time),
            ("warnings", words.warnings.len() as f64),
            ("errors", words.errors as f64),
        ];
        if let Some((track, _, counters)) = &words.sound {
            channels.extend([
                ("start", counters.position.get() as f64),
                ("length", f64::from(track.frames)),
                ("sample_rate", f64::from(track.rate)),
                ("num_channels", f64::from(track.channels)),
                ("time_slice", 1.0),
            ]);
        }
        channels
    }

    /// Everything, as an object.
    pub fn value(&self, now: Mono) -> Value {
        let info: Map<String, Value> =
            self.channels(now).into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let rate = self.encoding.rate.get();
        let words = lock(&self.words);
        json!({
            "active": self.active.load(Ordering::Acquire),
            "encoder": words.encoder,
            "urls": words.urls,
            "fps": (rate >> 32) as f64 / (rate as u32).max(1) as f64,
            "pictures": {
                "taken": self.taking.pictures.get(),
                "dropped": self.taking.dropped.get(),
                "encoded": self.encoding.pictures.get(),
                "keys": self.encoding.keys.get(),
                "octets": self.encoding.octets.get(),
            },
            "sent": {
                "clients": self.sending.clients.get(),
                "packets": self.sending.packets.get(),
                "octets": self.sending.octets.get(),
                "withheld": self.sending.withheld.get(),
            },
            "sound": words.sound.as_ref().map(|(track, source, counters)| sound_value(track, source, counters)),
            "info": info,
            "warnings": words.warnings,
            "last_errors": words.last_errors,
        })
    }
}

fn sound_value(track: &Track, source: &str, counters: &sound::Counters) -> Value {
    let level = counters.level.dbfs();
    json!({
        "source": source,
        "codec": track.codec,
        "rate": track.rate,
        "channels": track.channels,
        "bitrate": track.bitrate,
        "units": counters.units.get(),
        "octets": counters.octets.get(),
        "filled_frames": counters.filled.get(),
        // JSON has no infinities: silence has no level.
        "level_dbfs": level.is_finite().then_some(level),
        "failed": counters.failed.load(Ordering::Acquire),
    })
}

/// Figures of all streams, by their names.
pub fn metrics(streams: &[(&str, &Info)], now: Mono) -> Metrics {
    type Figure = (&'static str, Kind, &'static str, fn(&Info, Mono) -> f64);
    const FIGURES: &[Figure] = &[
        ("bridge_active", Kind::Gauge, "The stream is served.", |info, _| {
            f64::from(u8::from(info.active.load(Ordering::Acquire)))
        }),
        ("bridge_pictures_taken_total", Kind::Counter, "Pictures that came.", |info, _| {
            info.taking.pictures.get() as f64
        }),
        ("bridge_pictures_dropped_total", Kind::Counter, "Pictures that came too late.", |info, _| {
            info.taking.dropped.get() as f64
        }),
        ("bridge_pictures_encoded_total", Kind::Counter, "Pictures that were encoded.", |info, _| {
            info.encoding.pictures.get() as f64
        }),
        ("bridge_key_pictures_total", Kind::Counter, "Key pictures among those.", |info, _| {
            info.encoding.keys.get() as f64
        }),
        ("bridge_encoded_bytes_total", Kind::Counter, "Size of what was encoded.", |info, _| {
            info.encoding.octets.get() as f64
        }),
        ("bridge_encode_seconds", Kind::Gauge, "How long the last picture took to encode.", |info, _| {
            info.encoding.last_ns.get() as f64 / 1e9
        }),
        (
            "bridge_send_delay_seconds",
            Kind::Gauge,
            "From taking the last picture to its last packet at the last client.",
            |info, _| info.sending.delay_ns.get() as f64 / 1e9,
        ),
        ("bridge_packet_loss_ratio", Kind::Gauge, "Loss of the worst receiver of late.", |info, now| {
            (info.sending.loss(now) * MILLION).round() / MILLION
        }),
        ("bridge_clients", Kind::Gauge, "Those who watch or listen.", |info, _| {
            info.sending.clients.get() as f64
        }),
        ("bridge_packets_sent_total", Kind::Counter, "Packets to all clients.", |info, _| {
            info.sending.packets.get() as f64
        }),
        ("bridge_sent_bytes_total", Kind::Counter, "Size of those packets.", |info, _| {
            info.sending.octets.get() as f64
        }),
        ("bridge_pictures_withheld_total", Kind::Counter, "Pictures not sent to slow clients.", |info, _| {
            info.sending.withheld.get() as f64
        }),
        ("bridge_warnings", Kind::Gauge, "What is done otherwise than asked.", |info, _| {
            lock(&info.words).warnings.len() as f64
        }),
        ("bridge_errors_total", Kind::Counter, "What went wrong.", |info, _| lock(&info.words).errors as f64),
        ("bridge_sound_units_total", Kind::Counter, "Access units of sound.", |info, _| {
            lock(&info.words).sound.as_ref().map_or(0.0, |(_, _, counters)| counters.units.get() as f64)
        }),
        (
            "bridge_sound_filled_frames_total",
            Kind::Counter,
            "Silence in place of sound that did not come.",
            |info, _| {
                lock(&info.words).sound.as_ref().map_or(0.0, |(_, _, counters)| counters.filled.get() as f64)
            },
        ),
    ];
    let mut page = Metrics::new();
    for (name, kind, help, read) in FIGURES {
        let mut family = page.family(name, *kind, help);
        for (stream, info) in streams {
            family.sample(&[("stream", stream)], read(info, now));
        }
    }
    page
}

/// Words stay whole even if a thread that wrote some has panicked.
fn lock<T>(words: &Mutex<T>) -> MutexGuard<'_, T> {
    words.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn channel(info: &Info, now: Mono, name: &str) -> f64 {
        info.channels(now).into_iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name}")).1
    }

    fn picture(key: bool) -> EncodedPicture {
        let took = Duration::from_micros(2500);
        EncodedPicture { data: vec![0; 1000], key, at: Duration::from_secs(1), number: 1, took }
    }

    #[test]
    fn channels_have_the_units_of_the_operators_page() {
        let info = Info::default();
        info.encoding.begin(
            Size { width: 1440, height: 1080 },
            Rate { pictures: 30, seconds: 1 },
            Some((16, 9)),
        );
        info.encoding.note(&picture(true));
        info.encoding.note(&picture(false));
        info.sending.note_sent(Duration::from_secs(1), Mono(SECOND + 12_000_000));
        info.set_encoder(
            "openh264",
            &[Warning { parameter: "maxbframes", message: "there are none".into() }],
        );
        info.warn("slow");
        info.warn("slow");
        info.note_error("gone");
        for (name, expected) in [
            ("last_encode_time", 2.5),
            ("last_send_delay", 12.0),
            ("packet_loss_ratio", 0.0),
            ("resx", 1440.0),
            ("resy", 1080.0),
            ("aspectx", 16.0),
            ("aspecty", 9.0),
            ("total_cooks", 2.0),
            ("warnings", 2.0),
            ("errors", 1.0),
        ] {
            assert_eq!(channel(&info, Mono(0), name), expected, "{name}");
        }
        let value = info.value(Mono(0));
        assert_eq!(value["pictures"]["keys"], 1);
        assert_eq!(value["fps"], 30.0);
        assert_eq!(value["warnings"][0], "maxbframes: there are none");
        assert_eq!(value["sound"], Value::Null);
    }

    #[test]
    fn loss_is_that_of_the_worst_receiver_and_is_forgotten() {
        let info = Info::default();
        let at = |seconds: i64| Mono(100 * SECOND + seconds * SECOND);
        for (ratio, seconds) in [(0.02, 0), (0.10, 1), (0.0, 2)] {
            info.sending.note_loss(ratio, at(seconds));
        }
        let loss = |seconds| channel(&info, at(seconds), "packet_loss_ratio");
        assert_eq!(loss(3), 0.10);
        info.sending.note_loss(0.01, at(6));
        assert_eq!(loss(7), 0.10);
        assert_eq!(loss(12), 0.01);
        assert_eq!(loss(60), 0.0);
    }

    #[test]
    fn only_the_last_errors_are_kept_in_words() {
        let info = Info::default();
        (0..100).for_each(|n| info.note_error(&n.to_string()));
        let value = info.value(Mono(0));
        assert_eq!(value["last_errors"].as_array().map(Vec::len), Some(ERRORS));
        assert_eq!(value["last_errors"][ERRORS - 1], "99");
        assert_eq!(value["info"]["errors"], 100.0);
    }

    #[test]
    fn every_figure_has_a_sample_for_every_stream() {
        let infos = [Info::default(), Info::default()];
        infos[1].taking.pictures.add(7);
        let page = metrics(&[("door", &infos[0]), ("hall", &infos[1])], Mono(0));
        let text = page.text();
        let families = text.matches("# TYPE").count();
        assert_eq!(text.matches("{stream=\"door\"}").count(), families);
        assert!(text.contains("bridge_pictures_taken_total{stream=\"hall\"} 7\n"), "{text}");
    }

    #[test]
    fn every_channel_of_the_pages_is_there_or_has_a_reason() {
        const PAGES: &str = "last_encode_time last_send_delay packet_loss_ratio resx resy aspectx aspecty depth gpu_memory_used \
            total_cooks cook_time cook_frame cook_abs_frame cook_start_time cook_end_time cooked_this_frame warnings errors \
            start length sample_rate num_channels time_slice export_sernum";
        let info = Info::default();
        let track = Track {
            codec: sound::Codec::Mp3,
            rate: 44_100,
            channels: 2,
            frames: 1152,
            bitrate: 128_000,
            config: Vec::new(),
        };
        lock(&info.words).sound = Some((track, "tone".into(), Arc::default()));
        let there: Vec<_> = info.channels(Mono(0)).into_iter().map(|(name, _)| name).collect();
        for name in PAGES.split_whitespace() {
            let reason = WITHOUT.iter().any(|(other, _)| *other == name);
            assert!(there.contains(&name) != reason, "{name}");
        }
    }
}
