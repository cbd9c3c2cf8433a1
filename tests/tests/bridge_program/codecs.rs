//! Every codec in every player over every transport.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nvenc_double::Double;
use tests::program::{self, alone, has, skip};

use super::bridge::{Bridge, becomes, free_port};
use super::devices::{Camera, Microphone};
use super::ffmpeg::{self, Seen, Watched};
use super::reference::{self, OCTETS, RATE, SIZE};
use super::{gstreamer, retina};

/// Pictures and sound together: each codec, and each kind of sound beside pictures that all players know.
const PAIRS: [(&str, &str); 5] =
    [("h264", "mp3"), ("h265", "aac"), ("h264", "opus"), ("h265", "l16"), ("av1", "opus")];
/// Those that a stream has at a time.
const TRANSPORTS: [&[&str]; 2] = [&["udp", "tcp"], &["multicast"]];
/// A second of sound is looked at from here on: what players do before the first report is left out.
const SETTLED: usize = RATE + RATE / 4;
const WATCHED: Watched = Watched { pictures: 70, sound: 2.5 };
/// Pictures a second.
const HERTZ: u32 = 25;
/// Pictures that come to a group after a player has joined it and before the key picture that is made for it: some players show
/// what they make of them. Key pictures are half a second apart at least; the other half is a busy machine's.
const BEFORE_KEY: usize = 25;
/// Most that sound may be from pictures, in seconds.
const APART: f64 = 0.020;

enum Player {
    Ffmpeg { path: PathBuf, version: String },
    Gstreamer,
    Retina,
}

impl Player {
    /// Those that are here.
    fn all() -> Vec<Self> {
        let version = |path: &Path| {
            let said = Command::new(path).arg("-version").output().unwrap().stdout;
            let said = String::from_utf8_lossy(&said).into_owned();
            let version = said.split([' ', '-']).nth(2).unwrap_or_default();
            version.trim_start_matches('n').to_owned()
        };
        let ffmpegs = Double::ffmpegs().into_iter();
        let mut all: Vec<_> = ffmpegs
            .map(|path| Self::Ffmpeg { version: version(&path), path })
            .chain([Self::Retina])
            .collect();
        if has("gst-launch-1.0") {
            all.push(Self::Gstreamer);
        } else {
            skip("there is no gst-launch-1.0");
        }
        all
    }

    fn name(&self) -> String {
        match self {
            Self::Ffmpeg { version, .. } => format!("FFmpeg {version}"),
            Self::Gstreamer => "GStreamer".into(),
            Self::Retina => "retina".into(),
        }
    }

    /// Why it cannot play something, where it cannot.
    fn lacks(&self, what: &str) -> Option<&'static str> {
        match (self, what) {
            (Self::Ffmpeg { version, .. }, "av1") => {
                let major = version.split('.').next().and_then(|text| text.parse::<u32>().ok());
                major.is_some_and(|major| major < 8).then_some("reads no AV1 from RTP before 8.0")
            }
            (Self::Gstreamer, "av1") => Some("rtpav1depay is in gst-plugins-rs"),
            (Self::Retina, "av1" | "mp3" | "opus") => Some("does not depacketize it"),
            (Self::Retina, "multicast") => Some("joins no groups"),
            _ => None,
        }
    }

    fn watch(&self, url: &str, transport: &str, codecs: (&str, &str), watched: Watched) -> Seen {
        match (self, transport) {
            (Self::Ffmpeg { path, .. }, "multicast") => ffmpeg::watch(path, url, "udp_multicast", watched),
            (Self::Ffmpeg { path, .. }, _) => ffmpeg::watch(path, url, transport, watched),
            (Self::Gstreamer, "multicast") => gstreamer::watch(url, "udp-mcast", codecs, watched),
            (Self::Gstreamer, _) => gstreamer::watch(url, transport, codecs, watched),
            (Self::Retina, _) => retina::watch(url, transport, codecs, watched),
        }
    }
}

/// The bridge with an encoder for each codec, beside the plain one; `None` where they cannot be built here.
fn complete() -> Option<&'static Path> {
    static COMPLETE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let built = program::build(&["--features", "nvenc-bridge/x265,nvenc-bridge/svtav1"]);
        let complete = built.map(|folder| {
            let complete = folder.join("nvenc-bridge-complete");
            std::fs::copy(folder.join("nvenc-bridge"), &complete).unwrap();
            complete
        });
        program::build(&[]).expect("the programs build");
        complete
    };
    COMPLETE.get_or_init(make).as_deref()
}

#[test]
fn each_player_plays_each_codec_that_it_knows_over_each_transport() {
    let _alone = alone();
    if Double::ffmpegs().is_empty() {
        return skip("there is no ffmpeg");
    }
    let players = Player::all();
    let port = free_port();
    let _microphone = Microphone::start(port);
    let sound = format!("rtp://127.0.0.1:{port}");
    let mut failed = Vec::new();
    for codecs in PAIRS {
        let program = match codecs.0 {
            "h264" => program::path("nvenc-bridge"),
            _ => match complete() {
                Some(complete) => complete.into(),
                None => {
                    skip(&format!("no {}: x265 and SVT-AV1 are not here", codecs.0));
                    continue;
                }
            },
        };
        for transports in TRANSPORTS {
            let folder = tempfile::tempdir().unwrap();
            let camera = Camera::start(&folder.path().join("camera"), SIZE, HERTZ);
            let group = if transports.contains(&"multicast") { "on" } else { "off" };
            let bridge = Bridge::start_program(
                &program,
                &[
                    ["--pictures", &camera.path, "--video-codec", codecs.0],
                    ["--audio", &sound, "--audio-codec", codecs.1],
                    ["--multicast", group, "--ttl", "0"],
                ]
                .concat(),
            );
            // Encoders take their time to begin.
            becomes("pictures are encoded", || {
                bridge.state("stream")["pictures"]["encoded"].as_u64() > Some(10)
            });
            for transport in transports {
                let lead = if transport == &"multicast" { BEFORE_KEY } else { 0 };
                let before = dropped(&bridge);
                let seen = at_once(&players, &bridge.url("stream"), transport, codecs);
                let dropped = dropped(&bridge) - before;
                for (player, (watched, seen)) in players.iter().zip(seen) {
                    let what = format!("{} and {} over {transport} in {}", codecs.0, codecs.1, player.name());
                    let judged = seen.and_then(|seen| judge(&camera, watched, &seen, lead, dropped));
                    let lacks = [codecs.0, codecs.1, transport].map(|what| (what, player.lacks(what)));
                    let lacks =
                        lacks.iter().filter_map(|(what, why)| Some(format!("; no {what}: {}", (*why)?)));
                    let judged_so = judged.as_ref().unwrap_or_else(|reason| reason);
                    println!("{what}: {judged_so}{}", lacks.collect::<String>());
                    failed.extend(judged.err().map(|reason| format!("{what}: {reason}")));
                }
            }
            assert!(bridge.program.interrupt().status.success());
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Pictures that the bridge has taken and not encoded, since others came meanwhile.
fn dropped(bridge: &Bridge) -> u64 {
    bridge.state("stream")["pictures"]["dropped"].as_u64().unwrap()
}

/// What each player makes of a stream at the same time, as far as it knows its codecs.
fn at_once(
    players: &[Player],
    url: &str,
    transport: &'static str,
    codecs: (&'static str, &'static str),
) -> Vec<(Watched, Result<Seen, String>)> {
    std::thread::scope(|scope| {
        let begun: Vec<_> = players
            .iter()
            .map(|player| {
                let knows = |codec| player.lacks(codec).or(player.lacks(transport)).is_none();
                let watched = Watched {
                    pictures: if knows(codecs.0) { WATCHED.pictures } else { 0 },
                    sound: if knows(codecs.1) { WATCHED.sound } else { 0.0 },
                };
                let any = watched.pictures > 0 || watched.sound > 0.0;
                let play = move || player.watch(url, transport, codecs, watched);
                (watched, any.then(|| scope.spawn(play)))
            })
            .collect();
        let end = |(watched, thread): (_, Option<std::thread::ScopedJoinHandle<'_, Seen>>)| {
            let seen = thread.map_or_else(|| Ok(Seen::default()), std::thread::ScopedJoinHandle::join);
            (watched, seen.map_err(|_| "it has failed".into()))
        };
        begun.into_iter().map(end).collect()
    })
}

/// Whether all came, and together, in few words; else what is wrong. So many pictures may be missing, and so many at the beginning
/// be no pictures.
fn judge(
    camera: &Camera,
    watched: Watched,
    seen: &Seen,
    lead: usize,
    missing: u64,
) -> Result<String, String> {
    let mut words = Vec::new();
    let mut late = None;
    if watched.pictures > 0 {
        let judged = seen.pictures.chunks_exact(OCTETS).map(reference::judge).zip(&seen.times);
        let whole =
            |picture: &(Option<(u32, f64)>, _)| picture.0.is_some_and(|(_, likeness)| likeness > 32.0);
        let all: Vec<_> = judged.collect();
        let first = all.iter().position(whole).unwrap_or(all.len());
        let pictures: Vec<_> = all[first..].iter().filter(|picture| whole(picture)).collect();
        if first > lead || first + pictures.len() < watched.pictures {
            return Err(format!("{} pictures, of which {} are whole", all.len(), pictures.len()));
        }
        let numbers: Vec<_> = pictures.iter().filter_map(|(judged, _)| Some(judged.as_ref()?.0)).collect();
        let steps = numbers.windows(2).map(|pair| u64::from(pair[1]).checked_sub(u64::from(pair[0]) + 1));
        let gaps: Option<u64> = steps.sum();
        if gaps.is_none_or(|gaps| gaps > missing) {
            return Err(format!("a picture is missing or came twice: {numbers:?}"));
        }
        let likeness = pictures.iter().filter_map(|(judged, _)| Some(judged.as_ref()?.1)).sum::<f64>();
        words.push(format!("{} pictures, PSNR {:.1} dB", pictures.len(), likeness / pictures.len() as f64));
        // The last ones: players settle.
        let times = pictures.iter().zip(&numbers).rev().take(35);
        late = Some(median(times.map(|((_, time), number)| **time - camera.taken(*number)).collect()));
    }
    if watched.sound > 0.0 {
        let settled = seen.heard.iter().find(|(_, place)| *place > SETTLED);
        let second = settled.and_then(|(time, place)| Some((time, seen.sound.get(*place..)?.get(..RATE)?)));
        let (time, sound) = second.ok_or_else(|| format!("{} samples of sound", seen.sound.len()))?;
        let (lag, likeness) = match late {
            Some(late) => reference::nearby(sound, time - late),
            None => (0.0, reference::likeness(sound)),
        };
        words.push(format!("sound like what was sent by {likeness:.3}"));
        words.extend(late.map(|_| format!("{:+.1} ms after pictures", 1e3 * lag)));
        if likeness < 0.9 || lag.abs() > APART {
            return Err(words.join(", "));
        }
    }
    Ok(if words.is_empty() { "nothing".into() } else { words.join(", ") })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
