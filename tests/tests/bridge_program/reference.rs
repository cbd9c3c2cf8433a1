//! What is shown and heard, and how near what players make of it comes to that.

use std::f64::consts::TAU;
use std::path::Path;

use nvenc_bridge::picture::Size;
use nvenc_bridge::source::pattern;

/// Small enough that two encoders and a decoder keep up on a busy machine.
pub(crate) const SIZE: Size = Size { width: 320, height: 240 };
/// Octets of each as I420.
pub(crate) const OCTETS: usize = (SIZE.width * SIZE.height * 3 / 2) as usize;
/// Frames a second of the recording, and of all that is compared with it.
pub(crate) const RATE: usize = 44_100;
/// Hertz of its tones. Whole ones, so that it repeats each second, and such that it is like itself at no other time.
const TONES: [f64; 5] = [61.0, 127.0, 251.0, 503.0, 997.0];
const AMPLITUDE: f64 = 0.15;
/// How far sound is looked for from where it should be, in seconds.
const AROUND: f64 = 0.3;

/// The pictures' arguments.
pub(crate) const PATTERN: [&str; 6] = ["--width", "320", "--height", "240", "--fps", "30"];

/// The recording, at a time since any whole second of the wall clock.
pub(crate) fn sound(seconds: f64) -> f64 {
    let tone =
        |(place, hertz): (usize, &f64)| (TAU * (hertz * seconds + 0.37 * (place * place) as f64)).sin();
    AMPLITUDE * TONES.iter().enumerate().map(tone).sum::<f64>()
}

/// Writes a second of it: played over and over from a whole second on, it is [`sound`].
pub(crate) fn record(folder: &Path) -> String {
    let path = folder.join("reference.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for frame in 0..RATE {
        writer.write_sample((sound(frame as f64 / RATE as f64) * 32_767.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    path.to_str().unwrap().into()
}

/// By how many seconds samples come later than [`sound`] if the first is of the time `at`, and how much they are like it, 0 to 1.
/// A second of them at least.
pub(crate) fn lag(samples: &[f32], at: f64, around: f64) -> (f64, f64) {
    // Every eighth sample holds all of these tones.
    const STEP: usize = 8;
    let frame = 1.0 / RATE as f64;
    let table: Vec<f64> = (0..RATE).map(|n| sound(n as f64 * frame)).collect();
    let start = (at.rem_euclid(1.0) / frame).round() as i64;
    let likeness = |lag: i64| {
        let (mut product, mut own, mut its) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.iter().enumerate().step_by(STEP) {
            let (sample, expected) =
                (f64::from(*sample), table[(start + n as i64 - lag).rem_euclid(RATE as i64) as usize]);
            product += sample * expected;
            own += sample * sample;
            its += expected * expected;
        }
        product / (own * its).sqrt().max(1e-9)
    };
    let most = (around / frame) as i64;
    let best = |lags: &mut dyn Iterator<Item = i64>| {
        lags.map(|lag| (lag, likeness(lag))).max_by(|one, other| one.1.total_cmp(&other.1)).unwrap()
    };
    let (near, _) = best(&mut (-most..=most).step_by(4));
    let (lag, likeness) = best(&mut (near - 4..=near + 4));
    (lag as f64 * frame, likeness)
}

/// How much samples are like the recording, wherever they begin.
pub(crate) fn likeness(samples: &[f32]) -> f64 {
    lag(samples, 0.5, 0.5).1
}

/// Where the sound is, looked for near where it should be.
pub(crate) fn nearby(samples: &[f32], at: f64) -> (f64, f64) {
    lag(samples, at, AROUND)
}

/// The number that a picture of I420 shows, if it does, and its likeness to that of the pattern in decibels (PSNR of luma).
pub(crate) fn judge(picture: &[u8]) -> Option<(u32, f64)> {
    let number = pattern::read_counter(SIZE, picture)?;
    let mut expected = Vec::new();
    pattern::draw(SIZE, number.into(), &mut expected);
    let luma = (SIZE.width * SIZE.height) as usize;
    let squares = picture[..luma].iter().zip(&expected).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    let mean = squares.sum::<f64>() / luma as f64;
    Some((number, 10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()))
}
