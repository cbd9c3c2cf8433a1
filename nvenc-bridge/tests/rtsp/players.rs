//! ffmpeg and GStreamer: what they decode is what was encoded, picture for picture.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use nvenc_bridge::encode::Codec;
use nvenc_bridge::rtsp::{Credentials, Group};

use super::canned::{self, Canned, has, sums_in};
use super::{play, server};

/// Pictures that a player is to show.
pub(crate) const PICTURES: usize = 75;

/// A group that no other test uses.
fn group() -> Group {
    static NEXT: AtomicU16 = AtomicU16::new(25_004);
    let port = NEXT.fetch_add(10, Ordering::Relaxed);
    Group { address: "239.255.77.12".parse().unwrap(), port, ttl: 0 }
}

/// That the pictures are those of the group, beginning with the first, however often it was begun anew.
pub(crate) fn follows(seen: &[String], group: &[String]) {
    assert!(seen.len() >= PICTURES, "{} pictures", seen.len());
    assert_eq!(seen[0], group[0], "the first picture is no key picture");
    for (place, pair) in seen.windows(2).enumerate() {
        let at = group.iter().position(|sum| *sum == pair[0]);
        let at = at.unwrap_or_else(|| panic!("picture {place} was never encoded so"));
        let expected = [group.get(at + 1).unwrap_or(&group[0]), &group[0]];
        assert!(expected.contains(&&pair[1]), "picture {} does not follow picture {place}", place + 1);
    }
}

pub(crate) fn shown_by_ffmpeg(program: &str, url: &str, transport: &str, options: &[&str]) -> Vec<String> {
    let pictures = PICTURES.to_string();
    let output = Command::new(program)
        .args(["-hide_banner", "-nostdin", "-v", "error", "-rtsp_transport", transport])
        .args(options)
        .args(["-i", url, "-map", "0:v", "-frames:v", &pictures])
        .args(["-fps_mode", "passthrough", "-f", "framemd5", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{transport}: {errors}");
    assert_eq!(errors, "", "{transport}");
    sums_in(&String::from_utf8_lossy(&output.stdout))
}

fn played_by_ffmpeg(program: &str, canned: &Canned, transports: &[&str]) {
    let sums = canned.sums();
    for transport in transports {
        let server = server(None);
        let group = (*transport == "udp_multicast").then(group);
        let (_player, address) = play(&server, "hall", vec![canned.clone()], group);
        follows(&shown_by_ffmpeg(program, &format!("rtsp://{address}/hall"), transport, &[]), &sums);
    }
}

/// A newer ffmpeg, where one is named.
pub(crate) fn newer() -> Option<String> {
    let named = std::env::var("NEWER_FFMPEG").ok().filter(|program| has(program, "-version"));
    if named.is_none() {
        eprintln!("skipped: NEWER_FFMPEG names no program");
    }
    named
}

#[test]
fn ffmpeg_plays_h264_over_each_transport() {
    if has("ffmpeg", "-version") {
        let canned = canned::pictures(Codec::H264, 2000);
        played_by_ffmpeg("ffmpeg", &canned, &["udp", "tcp", "udp_multicast"]);
    } else {
        eprintln!("skipped: there is no ffmpeg");
    }
}

#[test]
fn ffmpeg_plays_h265_over_each_transport() {
    if has("ffmpeg", "-version") {
        let canned = canned::pictures(Codec::H265, 1000);
        played_by_ffmpeg("ffmpeg", &canned, &["udp", "tcp", "udp_multicast"]);
    } else {
        eprintln!("skipped: there is no ffmpeg");
    }
}

#[test]
fn a_newer_ffmpeg_plays_each_codec() {
    let Some(program) = newer() else { return };
    for codec in [Codec::H264, Codec::H265, Codec::Av1] {
        played_by_ffmpeg(&program, &canned::pictures(codec, 1000), &["udp", "tcp"]);
    }
}

#[test]
fn ffmpeg_plays_pictures_and_sound_together() {
    if !has("ffmpeg", "-version") {
        eprintln!("skipped: there is no ffmpeg");
        return;
    }
    let pictures = canned::pictures(Codec::H264, 1000);
    for sound in [canned::mp3(), canned::aac(), canned::l16()] {
        let name = format!("{:?}", sound.format);
        let server = server(None);
        let (_player, address) = play(&server, "hall", vec![pictures.clone(), sound], None);
        let url = format!("rtsp://{address}/hall");
        let text = canned::ffmpeg(
            &["-rtsp_transport", "tcp", "-i", &url, "-t", "2", "-map", "0:a", "-f", "s16le", "-ac", "1", "-"],
            &[],
        );
        // Of two seconds, an encoder's first frames and the last one may be missing.
        let samples = text.len() / 2;
        assert!(samples > 44_100 * 3 / 2, "{name}: {samples} samples");
        let loudest = text
            .chunks_exact(2)
            .map(|two| i16::from_le_bytes([two[0], two[1]]).unsigned_abs())
            .max()
            .unwrap();
        assert!(loudest > 2000, "{name}: {loudest}");
    }
}

#[test]
fn ffmpeg_plays_who_knows_the_password() {
    if !has("ffmpeg", "-version") {
        eprintln!("skipped: there is no ffmpeg");
        return;
    }
    let canned = canned::pictures(Codec::H264, 500);
    let server = server(Some(Credentials { user: "ann".into(), password: "s3cret".into() }));
    let (_player, address) = play(&server, "hall", vec![canned.clone()], None);
    follows(
        &shown_by_ffmpeg("ffmpeg", &format!("rtsp://ann:s3cret@{address}/hall"), "tcp", &[]),
        &canned.sums(),
    );
    let url = format!("rtsp://ann:wrong@{address}/hall");
    let refused = Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-i", &url]).output().unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("401"), "{errors}");
}

#[test]
fn retina_finds_nothing_wrong_and_no_picture_missing() {
    use futures::StreamExt;
    use retina::client::{PlayOptions, Session, SessionOptions, SetupOptions, Transport};
    use retina::codec::{CodecItem, FrameFormat};

    if !has("ffmpeg", "-version") {
        eprintln!("skipped: there is no ffmpeg");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (codec, raw) in [(Codec::H264, "h264"), (Codec::H265, "hevc")] {
        let canned = canned::pictures(codec, 1500);
        for transport in [Transport::Tcp(Default::default()), Transport::Udp(Default::default())] {
            let server = server(None);
            let (_player, address) = play(&server, "hall", vec![canned.clone(), canned::aac()], None);
            let (stream, sound) = runtime.block_on(async {
                let url = url::Url::parse(&format!("rtsp://{address}/hall")).unwrap();
                let mut session = Session::describe(url, SessionOptions::default()).await.unwrap();
                for track in 0..2 {
                    let options = SetupOptions::default().transport(transport.clone());
                    session.setup(track, options.frame_format(FrameFormat::SIMPLE)).await.unwrap();
                }
                let mut playing = session.play(PlayOptions::default()).await.unwrap().demuxed().unwrap();
                let (mut stream, mut sound, mut last) = (Vec::new(), 0, None);
                let mut pictures = 0;
                while pictures < PICTURES {
                    match playing.next().await.unwrap().unwrap() {
                        CodecItem::VideoFrame(frame) => {
                            assert_eq!(frame.loss(), 0);
                            let time = frame.timestamp().elapsed();
                            assert!(last.is_none_or(|last| time > last), "{time} after {last:?}");
                            last = Some(time);
                            stream.extend_from_slice(frame.data());
                            pictures += 1;
                        }
                        CodecItem::AudioFrame(frame) => {
                            assert_eq!(frame.loss(), 0);
                            sound += 1;
                        }
                        _ => {}
                    }
                }
                (stream, sound)
            });
            follows(&canned::sums(raw, &stream), &canned.sums());
            // 75 pictures last 2.5 s, and 117 access units of sound.
            assert!((90..140).contains(&sound), "{sound} access units of sound");
        }
    }
}

/// What GStreamer takes from a server, as its parser gives it; a little more than the pictures that are to be shown.
pub(crate) fn taken_by_gstreamer(source: &[&str], depay: &str, parse: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("gst-launch-1.0")
        .args(["-q", "rtspsrc", "latency=300"])
        .args(source)
        .args(["!", depay, "!", parse, "!"])
        .arg(format!("video/x-{},stream-format=byte-stream,alignment=au", parse.replace("parse", "")))
        .args(["!", "identity", &format!("eos-after={}", PICTURES + 2), "!", "filesink"])
        .arg(format!("location={}", file.path().display()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{source:?}");
    std::fs::read(file.path()).unwrap()
}

#[test]
fn gstreamer_plays_h264_and_h265_over_each_transport() {
    if !has("gst-launch-1.0", "--version") || !has("ffmpeg", "-version") {
        eprintln!("skipped: there is no gst-launch-1.0, or no ffmpeg");
        return;
    }
    for (codec, raw, depay, parse) in [
        (Codec::H264, "h264", "rtph264depay", "h264parse"),
        (Codec::H265, "hevc", "rtph265depay", "h265parse"),
    ] {
        let canned = canned::pictures(codec, 1000);
        for transport in ["udp", "tcp", "udp-mcast"] {
            let server = server(None);
            let group = (transport == "udp-mcast").then(group);
            let (_player, address) = play(&server, "hall", vec![canned.clone()], group);
            let source = [&*format!("location=rtsp://{address}/hall"), &format!("protocols={transport}")];
            let bits = taken_by_gstreamer(&source, depay, parse);
            follows(&canned::sums(raw, &bits), &canned.sums());
        }
    }
}
