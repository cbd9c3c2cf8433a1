//! The bridge's sound, of a sender over loopback and of this machine: it has the time of its capture, and no hole.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use audio::opus::{Decoder, MAX_FRAMES};
use nvenc_bridge::sound::{Bitrate, Codec, EncodedSound, Settings, Silent, Sound};
use os::clock;
use tests::pilot::{LOW, Pilot, nearest};
use tests::program::Program;

const RATE: u32 = 48_000;
const CHANNELS: usize = 2;
/// What the sender and the bridge make a tone of.
const AMPLITUDE: f64 = 0.25;
/// Longest that a unit may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

fn track(source: &str, codec: Codec, silent: Silent) -> (Sound, Receiver<EncodedSound>) {
    let settings = Settings {
        source: source.parse().unwrap(),
        codec,
        bitrate: Bitrate::B192,
        rate: RATE,
        channels: CHANNELS as u16,
        silent,
    };
    let (units, heard) = channel();
    let deliver = move |unit| drop(units.send(unit));
    (Sound::start(&settings, deliver).unwrap_or_else(|error| panic!("{error}")), heard)
}

/// Turns the left channel of units into samples.
fn decoder(codec: Codec) -> impl FnMut(&[u8]) -> Vec<f32> {
    let mut opus = Decoder::new(CHANNELS as u16).unwrap();
    let mut block = vec![0.0; MAX_FRAMES * CHANNELS];
    move |data| match codec {
        Codec::Opus => {
            let frames = opus.decode(data, &mut block).unwrap();
            block[..frames * CHANNELS].iter().step_by(CHANNELS).copied().collect()
        }
        _ => {
            let samples = data.as_chunks().0.iter();
            samples.step_by(CHANNELS).map(|pair| proto::pcm::sample(i16::from_be_bytes(*pair))).collect()
        }
    }
}

/// Listens for so many seconds of a tone whose phase tells when it was captured. Returns by how much later the units say that
/// was, in microseconds, in each window of 20 ms of the last two seconds.
fn errors(codec: Codec, heard: &Receiver<EncodedSound>, seconds: u64) -> Vec<f64> {
    let mut decode = decoder(codec);
    let mut pilot = Pilot::new(LOW, AMPLITUDE, RATE);
    let (mut errors, mut next) = (Vec::new(), None);
    let (mono, wall) = (clock::now(), clock::unix_nanos());
    let mut frames = 0;
    while frames < seconds * u64::from(RATE) {
        let unit = heard.recv_timeout(PATIENCE).expect("sound comes");
        assert_eq!(next.unwrap_or(unit.position), unit.position, "no hole");
        next = Some(unit.position + u64::from(unit.frames));
        frames += u64::from(unit.frames);
        let start = (unit.at.as_nanos() as i64 - mono.0) as f64;
        let samples = decode(&unit.data);
        assert_eq!(samples.len(), unit.frames as usize);
        for (n, sample) in samples.into_iter().enumerate() {
            let at = start + n as f64 * 1e9 / f64::from(RATE);
            let Some(phase) = pilot.push(sample, at, 1e9 / f64::from(RATE)) else { continue };
            // The tone rises at whole hundredths of a second of the wall clock.
            let since_epoch = phase.at + (wall.rem_euclid(1_000_000_000)) as f64;
            errors.push(nearest(since_epoch - phase.since, 0.0, LOW) / 1e3);
        }
    }
    errors.split_off(errors.len().saturating_sub(100))
}

/// Checks that all of them are near zero.
fn assert_near(errors: &[f64], most: f64, what: &str) {
    assert!(errors.len() > 90, "{what}: only {} windows were the tone", errors.len());
    let worst = errors.iter().fold(0.0f64, |worst, error| worst.max(error.abs()));
    println!("{what}: {worst:.0} µs off at worst");
    assert!(worst < most, "{what}: {worst} µs off");
}

#[test]
fn a_senders_sound_has_the_time_of_its_capture() {
    for codec in [Codec::L16, Codec::Opus] {
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap().port();
        let (sound, heard) = track(&format!("rtp://127.0.0.1:{port}"), codec, Silent::Off);
        let client = format!("bridge=127.0.0.1:{port}/0");
        let sender = Program::start("sender", &["--capture", "tone:100", "--client", &client]);
        assert_near(&errors(codec, &heard, 8), 1000.0, &format!("{codec:?} of a sender"));
        drop(sender);
        drop(sound);
    }
}

#[test]
fn a_tone_of_this_machine_has_the_time_of_its_capture() {
    let (sound, heard) = track("tone:100", Codec::L16, Silent::Off);
    assert_near(&errors(Codec::L16, &heard, 4), 100.0, "a tone of this machine");
    assert_eq!(sound.counters.filled.get(), 0);
}

#[test]
fn a_card_that_runs_fast_leaves_on_this_machines_clock() {
    // Its tone has 220 Hz by a clock of its own: only the units' times are looked at.
    let (_sound, heard) = track("virtual:ppm=300,jitter=0.5", Codec::L16, Silent::Off);
    let units: Vec<_> = heard.iter().take(1000).collect();
    for pair in units.windows(2) {
        assert_eq!(pair[1].position, pair[0].position + u64::from(pair[0].frames));
        let step = (pair[1].at - pair[0].at).as_nanos() as i64;
        assert!((step - 5_000_000).abs() < 1000, "{step} ns");
    }
}

#[test]
fn silence_fills_what_nobody_sends_where_that_is_wanted() {
    let (sound, heard) = track("rtp://127.0.0.1:0", Codec::Opus, Silent::On);
    let units: Vec<_> = heard.iter().take(25).collect();
    let (first, last) = (&units[0], &units[24]);
    assert_eq!(last.position - first.position, 24 * u64::from(first.frames));
    let apart = (last.at - first.at).as_nanos();
    assert!(apart.abs_diff(24 * 20_000_000) < 1000, "{apart} ns");
    assert!(sound.counters.filled.get() >= 24 * u64::from(first.frames));
}
