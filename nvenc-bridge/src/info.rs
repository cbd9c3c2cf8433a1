//! What a stream tells of itself: the Info channels of both operators, a state for people and scripts, figures for Prometheus.
//!
//! Each page of counters has one writer: the thread that takes pictures, the one that encodes, the one that sends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audio::counters::Counter;
use control::metrics::{Kind, Metrics};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::encode::{EncodedPicture, Settings, Warning};
use crate::serve::{self, Watcher};
use crate::sound::{self, Track};
use crate::source::slot;

/// Errors that are kept in words.
const ERRORS: usize = 16;
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
    pub fn begin(&self, &Settings { size, rate, aspect, .. }: &Settings) {
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

/// How a stream is, as an object. Its clients are kept as they are until they are written, since they may be many.
#[derive(Debug, Serialize)]
pub struct State {
    #[serde(flatten)]
    figures: Value,
    clients: Vec<serve::Client>,
}

/// What a stream tells of itself.
#[derive(Debug, Default)]
pub struct Info {
    /// Whether it is served: the `active` parameter.
    pub active: AtomicBool,
    /// Pictures that come in.
    pub taking: Arc<slot::Counters>,
    /// Pictures that are encoded.
    pub encoding: Encoding,
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
    watcher: Option<Watcher>,
}

impl Info {
    /// Says which encoder is at work, and what it does otherwise than asked, in place of what was said before.
    pub fn set_encoder(&self, name: &str, warnings: &[Warning]) {
        let mut words = lock(&self.words);
        words.encoder = name.into();
        words.warnings = warnings.iter().map(ToString::to_string).collect();
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

    /// Says who knows what goes out.
    pub fn watch(&self, watcher: Watcher) {
        lock(&self.words).watcher = Some(watcher);
    }

    /// What goes out, and to whom.
    pub fn sent(&self) -> serve::Info {
        let watcher = lock(&self.words).watcher.clone();
        watcher.map(|watcher| watcher.info()).unwrap_or_default()
    }

    /// What the track of sound counts, if there is one.
    pub fn sound(&self) -> Option<Arc<sound::Counters>> {
        lock(&self.words).sound.as_ref().map(|(_, _, counters)| counters.clone())
    }

    /// Says which track of sound goes along, if one does.
    pub fn set_sound(&self, sound: Option<&sound::Sound>) {
        let sound =
            sound.map(|sound| (sound.track.clone(), sound.description.clone(), sound.counters.clone()));
        lock(&self.words).sound = sound;
    }

    /// The Info channels, by the names of the operators' pages. Those of the sound are there where a track is; those that say
    /// nothing here are in [`WITHOUT`].
    pub fn channels(&self) -> Vec<(&'static str, f64)> {
        let sent = self.sent();
        let millis = |nanos: &Counter| nanos.get() as f64 / 1e6;
        let words = lock(&self.words);
        let encoding = &self.encoding;
        let aspect = encoding.aspect.get();
        let encode_time = millis(&encoding.last_ns);
        let mut channels = vec![
            ("last_encode_time", encode_time),
            ("last_send_delay", sent.last_send_delay.as_secs_f64() * 1e3),
            ("packet_loss_ratio", f64::from(sent.packet_loss_ratio)),
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

    /// Pictures that came or would have come too late.
    fn dropped(&self) -> u64 {
        self.taking.dropped.load(Ordering::Relaxed) + self.taking.missed.load(Ordering::Relaxed)
    }

    /// Everything.
    pub fn state(&self) -> State {
        let sent = self.sent();
        let info: Map<String, Value> =
            self.channels().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let rate = self.encoding.rate.get();
        let words = lock(&self.words);
        let figures = json!({
            "active": self.active.load(Ordering::Acquire),
            "encoder": words.encoder,
            "urls": words.urls,
            "fps": (rate >> 32) as f64 / (rate as u32).max(1) as f64,
            "pictures": {
                "taken": self.taking.given.load(Ordering::Relaxed),
                "dropped": self.dropped(),
                "encoded": self.encoding.pictures.get(),
                "keys": self.encoding.keys.get(),
                "octets": self.encoding.octets.get(),
            },
            "sent": {
                "clients": sent.sessions(),
                "packets": sent.packets,
                "octets": sent.octets,
                "withheld": withheld(&sent),
                "overrun": sent.overrun,
            },
            "sound": words.sound.as_ref().map(|(track, source, counters)| sound_value(track, source, counters)),
            "info": info,
            "warnings": words.warnings,
            "last_errors": words.last_errors,
        });
        State { figures, clients: sent.clients }
    }

    /// Everything, as an object.
    pub fn value(&self) -> Value {
        // Names and figures are always to be had as JSON.
        serde_json::to_value(self.state()).unwrap_or_default()
    }
}

/// Pictures and sound that clients did not get because they were too slow.
fn withheld(sent: &serve::Info) -> u64 {
    sent.clients.iter().map(|client| client.left_out).sum()
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
pub fn metrics(streams: &[(&str, &Info)]) -> Metrics {
    type Figure = (&'static str, Kind, &'static str, fn(&Info, &serve::Info) -> f64);
    const FIGURES: &[Figure] = &[
        ("bridge_active", Kind::Gauge, "The stream is served.", |info, _| {
            f64::from(u8::from(info.active.load(Ordering::Acquire)))
        }),
        ("bridge_pictures_taken_total", Kind::Counter, "Pictures that came.", |info, _| {
            info.taking.given.load(Ordering::Relaxed) as f64
        }),
        ("bridge_pictures_dropped_total", Kind::Counter, "Pictures that came too late.", |info, _| {
            info.dropped() as f64
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
            "From taking the last picture to handing its packets, or the first of many, to the system.",
            |_, sent| sent.last_send_delay.as_secs_f64(),
        ),
        (
            "bridge_packet_loss_ratio",
            Kind::Gauge,
            "Loss of the worst receiver, by its last report or left out since it came.",
            |_, sent| (f64::from(sent.packet_loss_ratio) * MILLION).round() / MILLION,
        ),
        ("bridge_clients", Kind::Gauge, "Those who watch or listen.", |_, sent| sent.sessions() as f64),
        ("bridge_packets_sent_total", Kind::Counter, "Packets to all clients.", |_, sent| {
            sent.packets as f64
        }),
        ("bridge_sent_bytes_total", Kind::Counter, "Size of those packets.", |_, sent| sent.octets as f64),
        (
            "bridge_withheld",
            Kind::Gauge,
            "Pictures not sent to those who watch now and are slow.",
            |_, sent| withheld(sent) as f64,
        ),
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
    let sent: Vec<_> = streams.iter().map(|(_, info)| info.sent()).collect();
    let mut page = Metrics::new();
    for (name, kind, help, read) in FIGURES {
        let mut family = page.family(name, *kind, help);
        for ((stream, info), sent) in streams.iter().zip(&sent) {
            family.sample(&[("stream", stream)], read(info, sent));
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
    use std::time::Duration;

    use super::*;
    use crate::encode::testing::settings;
    use crate::picture::Size;

    fn channel(info: &Info, name: &str) -> f64 {
        info.channels().into_iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name}")).1
    }

    fn picture(key: bool) -> EncodedPicture {
        let took = Duration::from_micros(2500);
        EncodedPicture { data: vec![0; 1000], key, at: Duration::from_secs(1), number: 1, took }
    }

    #[test]
    fn channels_have_the_units_of_the_operators_page() {
        let info = Info::default();
        let size = Size { width: 1440, height: 1080 };
        info.encoding.begin(&Settings { size, aspect: Some((16, 9)), ..settings() });
        info.encoding.note(&picture(true));
        info.encoding.note(&picture(false));
        info.set_encoder(
            "openh264",
            &[Warning { parameter: "maxbframes", message: "there are none".into() }],
        );
        info.warn("slow");
        info.warn("slow");
        info.note_error("gone");
        for (name, expected) in [
            ("last_encode_time", 2.5),
            ("last_send_delay", 0.0),
            ("packet_loss_ratio", 0.0),
            ("resx", 1440.0),
            ("resy", 1080.0),
            ("aspectx", 16.0),
            ("aspecty", 9.0),
            ("total_cooks", 2.0),
            ("warnings", 2.0),
            ("errors", 1.0),
        ] {
            assert_eq!(channel(&info, name), expected, "{name}");
        }
        let value = info.value();
        assert_eq!(value["pictures"]["keys"], 1);
        assert_eq!(value["fps"], 30.0);
        assert_eq!(value["warnings"][0], "maxbframes: there are none");
        assert_eq!(value["sound"], Value::Null);
    }

    #[test]
    fn only_the_last_errors_are_kept_in_words() {
        let info = Info::default();
        (0..100).for_each(|n| info.note_error(&n.to_string()));
        let value = info.value();
        assert_eq!(value["last_errors"].as_array().map(Vec::len), Some(ERRORS));
        assert_eq!(value["last_errors"][ERRORS - 1], "99");
        assert_eq!(value["info"]["errors"], 100.0);
    }

    #[test]
    fn every_figure_has_a_sample_for_every_stream() {
        let infos = [Info::default(), Info::default()];
        infos[1].taking.given.store(7, Ordering::Relaxed);
        let page = metrics(&[("door", &infos[0]), ("hall", &infos[1])]);
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
        let there: Vec<_> = info.channels().into_iter().map(|(name, _)| name).collect();
        for name in PAGES.split_whitespace() {
            let reason = WITHOUT.iter().any(|(other, _)| *other == name);
            assert!(there.contains(&name) != reason, "{name}");
        }
    }
}
