use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::*;
use crate::sound::{Bitrate, Silent, Source};

const CHANNELS: usize = 2;

fn settings(codec: Codec, bitrate: Bitrate, rate: u32) -> Settings {
    Settings { source: Source::silence(), codec, bitrate, rate, channels: 2, silent: Silent::Off }
}

/// An encoder, unless a library that it opens at run time is not there.
fn encoder(settings: &Settings) -> Option<Encoder> {
    match Encoder::new(settings) {
        Ok(encoder) => Some(encoder),
        Err(Error::Unavailable(reason)) if reason.contains("which is not there") => {
            println!("skipped: {reason}");
            None
        }
        Err(error) => panic!("{settings:?}: {error}"),
    }
}

/// Noise of the same seed always, low enough for all codecs to keep its wave.
fn sound(frames: usize) -> Vec<f32> {
    let (mut state, mut low) = (1u32, 0.0f32);
    let mut out = Vec::with_capacity(frames * CHANNELS);
    for _ in 0..frames {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        low += 0.1 * ((state >> 8) as f32 / 8_388_608.0 - 1.0 - low);
        out.extend([low; CHANNELS]);
    }
    out
}

const ORIGIN: Mono = Mono(3_600_000_000_000);

fn encode(encoder: &mut Encoder, sound: &[f32]) -> Vec<EncodedSound> {
    let mut out = VecDeque::new();
    let (rate, chunk) = (encoder.track.rate, encoder.track.frames as usize);
    for (n, samples) in sound.chunks_exact(chunk * CHANNELS).enumerate() {
        let position = (n * chunk) as u64;
        let at = ORIGIN.plus(units::frames_to_nanos(position as i64, rate));
        encoder.encode(Chunk { samples, at, position }, &mut out).unwrap();
    }
    out.into()
}

/// What ffmpeg makes of a stream in a container, as samples of one channel; `None` where it is not installed.
fn decoded(form: &str, octets: Vec<u8>, rate: u32) -> Option<Vec<f32>> {
    let rate = rate.to_string();
    let arguments = ["-v", "error", "-f", form, "-i", "-", "-f", "f32le", "-ac", "1", "-ar", &rate, "-"];
    let child = Command::new("ffmpeg")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: ffmpeg is not installed");
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&octets));
    let mut raw = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut raw).unwrap();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    Some(raw.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect())
}

/// Access units of AAC with the headers of a stream (ISO/IEC 13818-7, 6.2), from what their configuration says.
fn adts(track: &Track, units: &[EncodedSound]) -> Vec<u8> {
    let config = u16::from_be_bytes([track.config[0], track.config[1]]);
    let (index, channels) = ((config >> 7 & 15) as u8, (config >> 3 & 15) as u8);
    let mut out = Vec::new();
    for unit in units {
        let length = unit.data.len() + 7;
        out.extend([
            0xff,
            0xf1,
            0x40 | index << 2 | channels >> 2,
            (channels & 3) << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ]);
        out.extend(&unit.data);
    }
    out
}

/// By how many frames `heard` is later than `sound`, of one channel each, and how alike they are then (1 is the same).
fn lag(sound: &[f32], heard: &[f32]) -> (i64, f64) {
    const SPAN: std::ops::Range<usize> = 20_000..30_000;
    let energy = |part: &[f32]| part.iter().map(|x| f64::from(x * x)).sum::<f64>().max(1e-12);
    let part = &sound[SPAN];
    let likeness = |lag: i64| {
        let start = (SPAN.start as i64 + lag) as usize;
        let other = &heard[start..start + SPAN.len()];
        let product: f64 = part.iter().zip(other).map(|(a, b)| f64::from(a * b)).sum();
        product / (energy(part) * energy(other)).sqrt()
    };
    (-4000..4000).map(|lag| (lag, likeness(lag))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

/// Checks that a decoder hands out sound at the time that the access units name, to the frame.
fn check(codec: Codec, form: &str, bitrate: Bitrate, rate: u32) {
    let Some(mut encoder) = encoder(&settings(codec, bitrate, rate)) else { return };
    let sound = sound(48_000);
    let units = encode(&mut encoder, &sound);
    assert!(units.len() + 3 >= 48_000 / encoder.track.frames as usize, "{codec:?}: {} units", units.len());
    for (n, unit) in units.iter().enumerate() {
        assert_eq!(unit.position, n as u64 * u64::from(encoder.track.frames));
    }
    let octets = match codec {
        Codec::Aac => adts(&encoder.track, &units),
        _ => units.iter().flat_map(|unit| unit.data.clone()).collect(),
    };
    let bits = 8.0 * units.iter().map(|unit| unit.data.len()).sum::<usize>() as f64;
    let seconds = units.len() as f64 * f64::from(encoder.track.frames) / f64::from(rate);
    let share = bits / seconds / f64::from(encoder.track.bitrate);
    // AAC may save bits for later.
    assert!((0.9..1.1).contains(&share), "{codec:?} {bitrate:?} {rate}: {share} of its bits");
    let Some(heard) = decoded(form, octets, rate) else { return };
    let left: Vec<f32> = sound.iter().step_by(CHANNELS).copied().collect();
    let (late, alike) = lag(&left, &heard);
    let named = ORIGIN.since(Mono(units[0].at.as_nanos() as i64));
    let named = (named as f64 * f64::from(rate) / 1e9).round() as i64;
    assert_eq!(late, named, "{codec:?} {bitrate:?} {rate}: frames late, alike {alike}");
    assert!(alike > 0.95, "{codec:?} {bitrate:?} {rate}: {alike}");
}

#[test]
fn mp3_is_decoded_at_the_times_that_are_named() {
    for rate in [44_100, 48_000] {
        for bitrate in [Bitrate::B96, Bitrate::B128, Bitrate::B192, Bitrate::B256, Bitrate::B320] {
            check(Codec::Mp3, "mp3", bitrate, rate);
        }
    }
}

#[cfg(feature = "aac")]
#[test]
fn aac_is_decoded_at_the_times_that_are_named() {
    for rate in [44_100, 48_000] {
        for bitrate in [Bitrate::B96, Bitrate::B192, Bitrate::B320] {
            check(Codec::Aac, "aac", bitrate, rate);
        }
    }
}

#[test]
fn opus_is_decoded_at_the_times_that_are_named() {
    for bitrate in [Bitrate::B96, Bitrate::B192, Bitrate::B320] {
        let mut encoder = encoder(&settings(Codec::Opus, bitrate, 48_000)).expect("it is built in");
        let sound = sound(48_000);
        let units = encode(&mut encoder, &sound);
        let mut decoder = opus::Decoder::new(2).unwrap();
        let mut heard = Vec::new();
        let mut block = vec![0.0; opus::MAX_FRAMES * CHANNELS];
        for unit in &units {
            let frames = decoder.decode(&unit.data, &mut block).unwrap();
            assert_eq!(frames, unit.frames as usize);
            heard.extend(block[..frames * CHANNELS].iter().step_by(CHANNELS));
        }
        let left: Vec<f32> = sound.iter().step_by(CHANNELS).copied().collect();
        let (late, alike) = lag(&left, &heard);
        let named = ORIGIN.since(Mono(units[0].at.as_nanos() as i64)) * 48 / 1_000_000;
        assert_eq!(late, named, "{bitrate:?}: alike {alike}");
        assert!(alike > 0.95, "{bitrate:?}: {alike}");
    }
}

#[test]
fn pcm_is_exact_and_fits_a_packet() {
    let mut encoder = encoder(&settings(Codec::L16, Bitrate::B128, 48_000)).expect("it is built in");
    assert_eq!(encoder.warnings()[0].parameter, "audiobitrate");
    let ramp: Vec<f32> = (0..960).map(pcm::sample).collect();
    let units = encode(&mut encoder, &ramp);
    assert_eq!(units.len(), 2);
    assert_eq!(units[0].at.as_nanos(), ORIGIN.0 as u128);
    assert_eq!(units[1].data, (480..960i16).flat_map(i16::to_be_bytes).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_is_said_and_what_is_less_is_warned_of() {
    for (codec, rate, channels, words) in [
        (Codec::Opus, 44_100, 2, "Opus has 48000 Hz"),
        (Codec::Mp3, 32_000, 2, "choose 44100 or 48000"),
        (Codec::L16, 48_000, 3, "1 or 2 channels, not 3"),
    ] {
        let settings = Settings { channels, ..settings(codec, Bitrate::B128, rate) };
        let error = Encoder::new(&settings).err().expect(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    if cfg!(feature = "aac") {
        let mono = Settings { channels: 1, ..settings(Codec::Aac, Bitrate::B320, 44_100) };
        let encoder = Encoder::new(&mono).expect("it is built in");
        assert!(encoder.warnings()[0].message.contains("264 are sent"), "{:?}", encoder.warnings());
        assert_eq!(encoder.track().config, [0x12, 0x08]);
    }
}
