//! How close concealment comes to what was lost, on recordings that Debian packages: `cargo bench -p tests --bench conceal`.
//!
//! The measure is the log-spectral distance, in dB: the root of the mean squared difference of two power spectra in dB,
//! over the bins of windows of 10.7 ms that are centred within the gap, averaged over windows and places. A bin does not
//! fall below what 16-bit quantisation leaves in it. Lower is closer.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use audio::conceal::Concealer;
use opus::{Application, Channels, Decoder, Encoder};
use sim::random::Random;

const RATE: u32 = 48_000;
const MILLISECOND: usize = RATE as usize / 1000;
/// Heard before a gap, so that whatever keeps a history has one; a whole number of Opus frames.
const LEAD: usize = 400 * MILLISECOND;
/// Heard after a gap: half a window, and time to come back.
const TAIL: usize = 20 * MILLISECOND;
const PLACES: usize = 200;
/// Places where the lost samples are quieter than this (RMS) count as silence.
const SILENCE: f64 = 0.005;
/// A packet of 128 frames at 44.1 kHz.
const PACKET: usize = 139;
const WINDOW: usize = 512;
const HOP: usize = 64;

/// Recordings and what holds them.
const SPEECH: (&str, &str) = ("/usr/share/sounds/alsa", "alsa-utils");
const MUSIC: (&str, &str) = ("/usr/share/games/fretsonfire/data/songs/sectoid", "fretsonfire-songs-sectoid");

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let signals = [("speech", speech()?), ("music", music()?)];
    println!("| signal, gap | silence | last packet | last gap's length | ours | Opus 5 ms | Opus 20 ms |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, signal) in &signals {
        for gap in [5, 10, 20] {
            let distances = measure(signal, gap * MILLISECOND);
            let cells = distances.map(|distance| distance.map_or("-".into(), |mean| format!("{mean:.2}")));
            println!("| {name}, {gap} ms | {} |", cells.join(" | "));
        }
    }
    println!("\nThe start of a gap takes {:.0} µs a channel.", start_of_gap(&signals[1].1));
    Ok(())
}

fn speech() -> Result<Vec<f32>, String> {
    let names =
        ["Front_Center", "Front_Left", "Front_Right", "Rear_Center", "Rear_Left", "Rear_Right", "Side_Left"];
    let mut signal = Vec::new();
    for name in names {
        signal.extend(decode(&Path::new(SPEECH.0).join(format!("{name}.wav")), SPEECH.1, 10.0)?);
    }
    Ok(signal)
}

fn music() -> Result<Vec<f32>, String> {
    let mut signal = Vec::new();
    for song in ["Escape from chaosland", "Feelings", "Metal madness", "War of freedom"] {
        signal.extend(decode(&Path::new(MUSIC.0).join(song).join("song.ogg"), MUSIC.1, 60.0)?);
    }
    Ok(signal)
}

/// The beginning of a recording, as one channel.
fn decode(path: &Path, package: &str, seconds: f64) -> Result<Vec<f32>, String> {
    if !path.exists() {
        return Err(format!(
            "{} is missing: tests/packages bench, or apt-get install {package}",
            path.display()
        ));
    }
    let out = Command::new("sox")
        .arg(path)
        .args(["-t", "f32", "-r", &RATE.to_string(), "-c", "1", "-", "trim", "0", &seconds.to_string()])
        .output()
        .map_err(|e| format!("sox: {e}: tests/packages bench, or apt-get install sox"))?;
    if !out.status.success() {
        return Err(format!("sox: {}", String::from_utf8_lossy(&out.stderr)));
    }
    Ok(out.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn measure(signal: &[f32], gap: usize) -> [Option<f64>; 6] {
    let mut random = Random::new(1);
    let mut sums = [(0.0, 0); 6];
    let fft = Fft::new();
    let opus = [5, 20].map(|ms| Opus::new(ms * MILLISECOND));
    let mut places = 0;
    while places < PLACES {
        let steps = (signal.len() - LEAD - gap - TAIL) / (20 * MILLISECOND);
        let start = (random.unit() * steps as f64) as usize * 20 * MILLISECOND;
        let part = &signal[start..start + LEAD + gap + TAIL];
        let lost = &part[LEAD..LEAD + gap];
        let power = lost.iter().map(|s| f64::from(s * s)).sum::<f64>() / gap as f64;
        if power.sqrt() < SILENCE {
            continue;
        }
        places += 1;
        let mut filled: Vec<Option<(Vec<f32>, Vec<f32>)>> = Vec::new();
        let hole = |fill: &dyn Fn(usize) -> f32| {
            let mut copy = part.to_vec();
            for n in 0..gap {
                copy[LEAD + n] = fill(n);
            }
            Some((part.to_vec(), copy))
        };
        filled.push(hole(&|_| 0.0));
        filled.push(hole(&|n| part[LEAD - PACKET + n % PACKET]));
        filled.push(hole(&|n| part[LEAD - gap + n]));
        let mut ours = part.to_vec();
        let mut concealer = Concealer::new(1, RATE);
        concealer.pass(&mut ours[..LEAD]);
        ours[..LEAD].copy_from_slice(&part[..LEAD]);
        concealer.conceal(&mut ours[LEAD..LEAD + gap]);
        concealer.pass(&mut ours[LEAD + gap..]);
        filled.push(Some((part.to_vec(), ours)));
        for o in &opus {
            filled.push(o.gap(part, gap));
        }
        for (sum, pair) in sums.iter_mut().zip(&filled) {
            if let Some((a, b)) = pair {
                sum.0 += fft.distance(a, b, LEAD..LEAD + gap);
                sum.1 += 1;
            }
        }
    }
    sums.map(|(sum, n)| (n > 0).then(|| sum / n as f64))
}

struct Opus {
    frame: usize,
}
impl Opus {
    fn new(frame: usize) -> Self {
        Self { frame }
    }
    fn gap(&self, part: &[f32], gap: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        if !gap.is_multiple_of(self.frame) {
            return None;
        }
        let app = if self.frame == 5 * MILLISECOND { Application::LowDelay } else { Application::Audio };
        let mut encoder = Encoder::new(RATE, Channels::Mono, app).unwrap();
        encoder.set_bitrate(opus::Bitrate::Bits(96_000)).unwrap();
        let mut dec = [(); 2].map(|()| Decoder::new(RATE, Channels::Mono).unwrap());
        let mut out = [Vec::new(), Vec::new()];
        let mut buf = vec![0.0; self.frame];
        for (i, frame) in part.chunks_exact(self.frame).enumerate() {
            let packet = encoder.encode_vec_float(frame, 1500).unwrap();
            let lost = i * self.frame >= LEAD && i * self.frame < LEAD + gap;
            dec[0].decode_float(&packet, &mut buf, false).unwrap();
            out[0].extend_from_slice(&buf);
            dec[1].decode_float(if lost { &[] } else { &packet }, &mut buf, false).unwrap();
            out[1].extend_from_slice(&buf);
        }
        let [a, b] = out;
        Some((a, b))
    }
}

fn start_of_gap(signal: &[f32]) -> f64 {
    let mut sum = 0.0;
    for place in 0..200 {
        let mut concealer = Concealer::new(2, RATE);
        let mut audio: Vec<f32> = signal[place * 9000..][..9000].iter().flat_map(|s| [*s, *s]).collect();
        concealer.pass(&mut audio);
        let t = Instant::now();
        concealer.jump();
        sum += t.elapsed().as_secs_f64();
    }
    sum / 200.0 / 2.0 * 1e6
}

struct Fft {
    window: Vec<f32>,
    twiddle: Vec<(f32, f32)>,
}
impl Fft {
    fn new() -> Self {
        let w = |n: usize| 2.0 * std::f32::consts::PI * n as f32 / WINDOW as f32;
        Self {
            window: (0..WINDOW).map(|n| 0.5 - 0.5 * w(n).cos()).collect(),
            twiddle: (0..WINDOW / 2).map(|n| (w(n).cos(), -w(n).sin())).collect(),
        }
    }
    fn power(&self, x: &[f32]) -> Vec<f32> {
        let mut v: Vec<(f32, f32)> = (0..WINDOW)
            .map(|n| {
                let r = n.reverse_bits() >> (usize::BITS - WINDOW.trailing_zeros());
                (x[r] * self.window[r], 0.0)
            })
            .collect();
        let mut half = 1;
        while half < WINDOW {
            for block in v.chunks_mut(2 * half) {
                let (a, b) = block.split_at_mut(half);
                for (k, (a, b)) in a.iter_mut().zip(b).enumerate() {
                    let t = self.twiddle[k * (WINDOW / 2 / half)];
                    let p = (b.0 * t.0 - b.1 * t.1, b.0 * t.1 + b.1 * t.0);
                    *b = (a.0 - p.0, a.1 - p.1);
                    *a = (a.0 + p.0, a.1 + p.1);
                }
            }
            half *= 2;
        }
        v[..=WINDOW / 2].iter().map(|c| c.0 * c.0 + c.1 * c.1).collect()
    }
    fn distance(&self, a: &[f32], b: &[f32], gap: std::ops::Range<usize>) -> f64 {
        let floor = self.window.iter().map(|w| w * w).sum::<f32>() / 12.0 / 32768.0f32.powi(2);
        let mut sum = 0.0;
        let mut n = 0;
        for centre in gap.step_by(HOP) {
            let s = centre - WINDOW / 2;
            let (p, q) = (self.power(&a[s..s + WINDOW]), self.power(&b[s..s + WINDOW]));
            let d: f64 = p
                .iter()
                .zip(&q)
                .map(|(p, q)| f64::from(10.0 * ((p + floor) / (q + floor)).log10()).powi(2))
                .sum();
            sum += (d / p.len() as f64).sqrt();
            n += 1;
        }
        sum / f64::from(n)
    }
}
