//! The test pattern with sound, in each player over each transport.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nvenc_double::Double;
use tests::program::{alone, has, skip};

use super::bridge::Bridge;
use super::ffmpeg::{Watched, watch};
use super::reference::{self, OCTETS, PATTERN, RATE};
use super::watcher::Watcher;

const PICTURES: usize = 60;

fn streaming(multicast: bool, more: &[&str]) -> (Bridge, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let sound = reference::record(folder.path());
    let multicast: &[&str] = if multicast { &["--multicast", "on", "--ttl", "0"] } else { &[] };
    let bridge = Bridge::start(&[&PATTERN[..], &["--audio", &sound], multicast, more].concat());
    (bridge, folder)
}

#[test]
fn ffmpeg_plays_the_test_pattern_with_sound_over_each_transport() {
    let _alone = alone();
    let ffmpegs = Double::ffmpegs();
    if ffmpegs.is_empty() {
        return skip("there is no ffmpeg");
    }
    for transport in ["udp", "tcp", "udp_multicast"] {
        let (bridge, _folder) = streaming(transport == "udp_multicast", &[]);
        for ffmpeg in &ffmpegs {
            let what = format!("{} over {transport}", ffmpeg.file_name().unwrap().to_string_lossy());
            let seen =
                watch(ffmpeg, &bridge.url("stream"), transport, Watched { pictures: PICTURES, sound: 1.5 });
            reference::check(&seen.pictures, PICTURES, &what);
            let likeness = reference::likeness(&seen.sound);
            println!("{what}: sound like what was sent by {likeness:.3}");
            assert!(seen.sound.len() > RATE && likeness > 0.9, "{what}: {likeness}");
        }
        assert!(bridge.program.interrupt().status.success());
    }
}

#[test]
fn gstreamer_plays_the_test_pattern_with_sound_over_each_transport() {
    let _alone = alone();
    if !has("gst-launch-1.0") {
        return skip("there is no gst-launch-1.0");
    }
    for transport in ["udp", "tcp", "udp-mcast"] {
        let (bridge, folder) = streaming(transport == "udp-mcast", &["--audio-codec", "opus"]);
        let (pictures, sound) = (folder.path().join("pictures"), folder.path().join("sound"));
        play_with_gstreamer(&bridge.url("stream"), transport, &pictures, &sound);
        let what = format!("GStreamer over {transport}");
        reference::check(&std::fs::read(&pictures).unwrap(), PICTURES, &what);
        let likeness = reference::likeness(&samples(&sound));
        println!("{what}: sound like what was sent by {likeness:.3}");
        assert!(likeness > 0.9, "{what}: {likeness}");
    }
}

/// Samples of a file, 16 bits each, without the first tenth of a second: decoders begin with silence.
pub(crate) fn samples(path: &Path) -> Vec<f32> {
    let octets = std::fs::read(path).unwrap();
    let samples =
        octets.as_chunks::<2>().0.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0);
    samples.skip(RATE / 10).take(2 * RATE).collect()
}

fn play_with_gstreamer(url: &str, transport: &str, pictures: &Path, sound: &Path) {
    let line = format!(
        "-q rtspsrc name=from location={url} protocols={transport} latency=200 \
         from. ! application/x-rtp,media=video ! rtph264depay ! h264parse ! openh264dec ! videoconvert \
         ! video/x-raw,format=I420 ! identity eos-after={} ! filesink location={} \
         from. ! application/x-rtp,media=audio ! rtpopusdepay ! opusdec ! audioconvert ! audioresample \
         ! audio/x-raw,format=S16LE,channels=1,rate={RATE} ! filesink location={}",
        PICTURES + 1,
        pictures.display(),
        sound.display()
    );
    // It ends when all of its branches have ended: sound goes on, so it is ended once there are the pictures.
    let mut child =
        Command::new("gst-launch-1.0").args(line.split_whitespace()).stdout(Stdio::null()).spawn().unwrap();
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    super::bridge::becomes("GStreamer shows pictures", || {
        assert!(child.try_wait().unwrap().is_none_or(|status| status.success()), "it has failed");
        length(pictures) >= (PICTURES * OCTETS) as u64 && length(sound) >= 3 * RATE as u64
    });
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn retina_plays_the_test_pattern_with_sound_and_loses_nothing() {
    use futures::StreamExt;
    use retina::client::{PlayOptions, Session, SessionOptions, SetupOptions, Transport};
    use retina::codec::{CodecItem, FrameFormat};

    let _alone = alone();
    let Some(ffmpeg) = Double::ffmpegs().into_iter().next() else { return skip("there is no ffmpeg") };
    let (bridge, folder) = streaming(false, &["--audio-codec", "aac"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for transport in [Transport::Tcp(Default::default()), Transport::Udp(Default::default())] {
        let what = format!("retina over {transport:?}");
        let (stream, sound) = runtime.block_on(async {
            let url = url::Url::parse(&bridge.url("stream")).unwrap();
            let mut session = Session::describe(url, SessionOptions::default()).await.unwrap();
            for track in 0..2 {
                let options = SetupOptions::default().transport(transport.clone());
                session.setup(track, options.frame_format(FrameFormat::SIMPLE)).await.unwrap();
            }
            let mut playing = session.play(PlayOptions::default()).await.unwrap().demuxed().unwrap();
            let (mut stream, mut sound, mut pictures) = (Vec::new(), 0, 0);
            while pictures < PICTURES {
                match playing.next().await.unwrap().unwrap() {
                    CodecItem::VideoFrame(frame) => {
                        assert_eq!(frame.loss(), 0);
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
        let (coded, shown) = (folder.path().join("coded.h264"), folder.path().join("shown"));
        std::fs::write(&coded, stream).unwrap();
        let mut command = Command::new(&ffmpeg);
        command.args(["-y", "-v", "error", "-i"]).arg(&coded);
        command.args(["-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo"]).arg(&shown);
        assert!(command.stdin(Stdio::null()).status().unwrap().success());
        reference::check(&std::fs::read(&shown).unwrap(), PICTURES - 1, &what);
        // 2 s of access units of 1024 frames, at 44.1 kHz.
        assert!((70..105).contains(&sound), "{what}: {sound} access units of sound");
    }
}

#[test]
fn a_player_has_its_first_picture_soon_after_it_comes() {
    let _alone = alone();
    // No key picture comes by itself.
    let bridge = Bridge::start(&[&PATTERN[..], &["--keyframe-interval", "100000"]].concat());
    let mut times: Vec<_> = (0..50)
        .map(|number| {
            // Requests for key pictures are half a second apart at least.
            std::thread::sleep(Duration::from_millis(510 + 7 * number % 33));
            let start = Instant::now();
            Watcher::start(bridge.port, "stream", false).picture();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("from connecting to the first whole picture: median {:?}, longest {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(100 + 34), "median {:?}", times[25]);
}
