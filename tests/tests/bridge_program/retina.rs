//! What retina gives, a strict client that does not decode, and when.

use std::path::Path;

use futures::StreamExt;
use retina::client::{PlayOptions, Session, SessionOptions, SetupOptions, Transport};
use retina::codec::{CodecItem, FrameFormat, ParametersRef};
use retina::{NtpTimestamp, Timestamp};

use super::ffmpeg::{self, Seen, Watched};
use super::reference::RATE;

/// One track as it came.
#[derive(Default)]
struct Track {
    octets: Vec<u8>,
    units: Vec<Timestamp>,
    /// A time of this track, and the sender's clock at that time in seconds.
    report: Option<(Timestamp, f64)>,
}

impl Track {
    /// Seconds of it that have come.
    fn lasts(&self) -> f64 {
        let ends = self.units.first().zip(self.units.last());
        ends.map_or(0.0, |(first, last)| last.elapsed_secs() - first.elapsed_secs())
    }

    /// When each unit was taken, by the sender's clock.
    fn times(&self) -> Vec<f64> {
        let (place, time) = self.report.expect("reports come");
        self.units.iter().map(|unit| time + unit.elapsed_secs() - place.elapsed_secs()).collect()
    }
}

/// Plays a stream of these codecs and has ffmpeg decode what came. Nothing may be missing.
pub(crate) fn watch(url: &str, transport: &str, codecs: (&str, &str), watched: Watched) -> Seen {
    let transport = match transport {
        "tcp" => Transport::Tcp(Default::default()),
        _ => Transport::Udp(Default::default()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [pictures, sound] = runtime.block_on(fetch(url, transport, watched));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coded");
    let decode = |octets: &[u8], form: &[&str], watched| {
        std::fs::write(&path, octets).unwrap();
        ffmpeg::play(Path::new("ffmpeg"), &[form, &["-i", path.to_str().unwrap()]].concat(), watched)
    };
    let mut seen = Seen::default();
    if watched.pictures > 0 {
        let form = if codecs.0 == "h264" { "h264" } else { "hevc" };
        seen = decode(&pictures.octets, &["-f", form], Watched { sound: 0.0, ..watched });
        seen.times = pictures.times();
    }
    if watched.sound > 0.0 {
        let form: &[_] =
            if codecs.1 == "aac" { &["-f", "aac"] } else { &["-f", "s16be", "-ar", "44100", "-ac", "2"] };
        seen.sound = decode(&sound.octets, form, Watched { pictures: 0, ..watched }).sound;
        let times = sound.times();
        let place = |time: f64| ((time - times[0]) * RATE as f64).round() as usize;
        seen.heard = times.iter().map(|time| (*time, place(*time))).collect();
    }
    seen
}

/// Both tracks, as much of them as is wanted, and what comes until there are reports.
async fn fetch(url: &str, transport: Transport, watched: Watched) -> [Track; 2] {
    let url = url::Url::parse(url).unwrap();
    let mut session = Session::describe(url, SessionOptions::default()).await.unwrap();
    for (place, wanted) in [watched.pictures > 0, watched.sound > 0.0].into_iter().enumerate() {
        if wanted {
            let options = SetupOptions::default().transport(transport.clone());
            session.setup(place, options.frame_format(FrameFormat::SIMPLE)).await.unwrap();
        }
    }
    let config = match session.streams()[1].parameters() {
        Some(ParametersRef::Audio(parameters)) => parameters.extra_data().to_vec(),
        _ => Vec::new(),
    };
    let mut playing = session.play(PlayOptions::default()).await.unwrap().demuxed().unwrap();
    let [mut pictures, mut sound] = [Track::default(), Track::default()];
    loop {
        match playing.next().await.unwrap().unwrap() {
            CodecItem::VideoFrame(frame) => {
                assert_eq!(frame.loss(), 0);
                pictures.units.push(frame.timestamp());
                pictures.octets.extend_from_slice(frame.data());
            }
            CodecItem::AudioFrame(frame) => {
                assert_eq!(frame.loss(), 0);
                sound.units.push(frame.timestamp());
                sound.octets.extend(adts(&config, frame.data().len()));
                sound.octets.extend_from_slice(frame.data());
            }
            CodecItem::Rtcp(packet) => {
                let report = packet.pkts().find_map(|packet| packet.as_sender_report().ok().flatten());
                if let (Some(place), Some(report)) = (packet.rtp_timestamp(), report) {
                    let track = if packet.stream_id() == 0 { &mut pictures } else { &mut sound };
                    track.report = Some((place, seconds(report.ntp_timestamp())));
                }
            }
            _ => {}
        }
        let seen =
            watched.pictures == 0 || (pictures.units.len() > watched.pictures && pictures.report.is_some());
        let heard = watched.sound == 0.0 || (sound.lasts() > watched.sound && sound.report.is_some());
        if seen && heard {
            return [pictures, sound];
        }
    }
}

/// Seconds since 1970.
fn seconds(time: NtpTimestamp) -> f64 {
    time.0.wrapping_sub(retina::UNIX_EPOCH.0) as f64 / 2f64.powi(32)
}

/// What stands before an access unit of AAC in a file (ISO/IEC 13818-7, section 6.2), from its AudioSpecificConfig; nothing without one.
fn adts(config: &[u8], octets: usize) -> Vec<u8> {
    let [first, second, ..] = config[..] else { return Vec::new() };
    let (object, rate, channels) = (first >> 3, (first & 7) << 1 | second >> 7, second >> 3 & 15);
    let length = octets + 7;
    let low = |value: usize| value as u8;
    let profile = (object - 1) << 6 | rate << 2 | channels >> 2;
    let (upper, middle, lower) = (low(length >> 11), low(length >> 3), low(length << 5) | 0x1F);
    vec![0xFF, 0xF1, profile, channels << 6 | upper, middle, lower, 0xFC]
}
