//! What keeping a device in time costs in sound: a tone of 997 Hz, 1 dB below full scale, and all that is not the tone
//! after the resampler, after the receiver's whole path to a card, and while an adaptive buffer comes down.

use std::f64::consts::{PI, TAU};

use audio::depth::{Preset, Reason};
use audio::receive::{Adapt, CHUNK};
use audio::resample::Steered;
use audio::send::Codec;
use sim::link::LinkSpec;
use sim::random::Random;
use tests::world::{AMPLITUDE, Ear, Outcome, RATE, Receiver, Scenario, Sound, card, run, wired};

const HERTZ: f64 = 997.0;
/// Radians a frame.
const STEP: f64 = TAU * HERTZ / RATE as f64;
const MS: i64 = 1_000_000;
/// What is slower than 20 Hz is not noise but a pitch that wanders, so the tone is fitted anew this often, in frames.
const WINDOW: usize = RATE as usize / 20;

/// A sine by least squares: amplitude, phase and frequency (IEEE 1057, with four parameters less the offset).
struct Fit {
    amplitude: f64,
    /// At the middle of the samples, in radians.
    phase: f64,
    /// Radians a frame.
    step: f64,
    /// Power of all that is not the sine, up to half the rate.
    residual: f64,
}

impl Fit {
    /// `step` is the frequency to begin with, off by a small share of a cycle over all samples.
    fn of(samples: &[f32], step: f64) -> Self {
        let middle = (samples.len() - 1) as f64 / 2.0;
        let (mut a, mut b, mut step) = (0.0f64, 0.0f64, step);
        for round in 0..6 {
            // The normal equations of a·cos + b·sin + c·(their change with the frequency).
            let (mut m, mut v) = ([[0.0; 3]; 3], [0.0; 3]);
            for (n, sample) in samples.iter().enumerate() {
                let t = n as f64 - middle;
                let (sin, cos) = (step * t).sin_cos();
                let row = [cos, sin, t * (b * cos - a * sin)];
                for i in 0..3 {
                    v[i] += row[i] * f64::from(*sample);
                    (0..3).for_each(|j| m[i][j] += row[i] * row[j]);
                }
            }
            if round == 0 {
                // Without an amplitude, nothing changes with the frequency.
                m[2] = [0.0, 0.0, 1.0];
            }
            let change;
            [a, b, change] = solve(m, v);
            step += if round == 0 { 0.0 } else { change };
        }
        let left = samples.iter().enumerate().map(|(n, sample)| {
            let (sin, cos) = (step * (n as f64 - middle)).sin_cos();
            (f64::from(*sample) - a * cos - b * sin).powi(2)
        });
        let residual = left.sum::<f64>() / samples.len() as f64;
        Self { amplitude: a.hypot(b), phase: a.atan2(b), step, residual }
    }
}

/// Cramer's rule.
fn solve(m: [[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    let det = |m: [[f64; 3]; 3]| {
        let minor = |i: usize, j: usize| m[1][i] * m[2][j] - m[1][j] * m[2][i];
        m[0][0] * minor(1, 2) - m[0][1] * minor(0, 2) + m[0][2] * minor(0, 1)
    };
    std::array::from_fn(|column| {
        let mut replaced = m;
        (0..3).for_each(|row| replaced[row][column] = v[row]);
        det(replaced) / det(m)
    })
}

/// All that is not the tone, relative to it, in decibels.
fn thd_n(samples: &[f32], step: f64) -> f64 {
    let (mut noise, mut tone) = (0.0, 0.0);
    for window in samples.chunks_exact(WINDOW) {
        let fit = Fit::of(window, step);
        noise += fit.residual;
        tone += fit.amplitude.powi(2) / 2.0;
    }
    10.0 * (noise / tone).log10()
}

/// As 16-bit PCM holds it.
fn quantised(sample: f32) -> f32 {
    (sample * 32_768.0).round_ties_even() / 32_768.0
}

/// Three seconds of the tone through the resampler, after one to settle. The speed departs by up to `wander` (both in parts
/// per million) from chunk to chunk.
fn resampled(ppm: f64, wander: f64, word: fn(f32) -> f32) -> Vec<f32> {
    let mut steered = Steered::new(1, CHUNK, RATE, RATE);
    let mut random = Random::new(7);
    let (mut taken, mut all, mut chunk) = (0u64, Vec::new(), [0.0; CHUNK]);
    while all.len() < 4 * RATE as usize {
        steered.set_speed((ppm + wander * (2.0 * random.unit() - 1.0)) * 1e-6);
        steered.process(&mut chunk, |input| {
            for sample in input {
                *sample = word((AMPLITUDE * (STEP * taken as f64).sin()) as f32);
                taken += 1;
            }
        });
        all.extend(chunk.map(word));
    }
    all.split_off(RATE as usize)
}

/// Three seconds from a card that runs off by so much, at the end of the whole path.
fn played(ppm: f64, codec: Codec) -> Vec<f32> {
    let receiver = Receiver { codec, ear: Ear::Card(card(ppm), 128), ..Receiver::default().over(wired()) };
    let scenario = Scenario {
        seconds: 28.0,
        sound: Sound::Tone(HERTZ),
        settle: 25.0,
        ..Scenario::default().heard_by(receiver)
    };
    run(&scenario, 1).played
}

#[test]
fn the_fit_finds_what_was_put_in() {
    let mut random = Random::new(3);
    let (step, noise) = (STEP * (1.0 + 800e-6), 1e-4);
    let samples: Vec<f32> =
        (0..WINDOW).map(|n| (0.5 * (step * n as f64 + 1.0).sin() + noise * random.normal()) as f32).collect();
    let fit = Fit::of(&samples, STEP);
    let phase = step * (WINDOW - 1) as f64 / 2.0 + 1.0 - fit.phase;
    let off = (phase + PI).rem_euclid(TAU) - PI;
    assert!((fit.amplitude - 0.5).abs() < 1e-5 && off.abs() < 1e-4, "{} at {off}", fit.amplitude);
    assert!((fit.step / step - 1.0).abs() < 1e-6, "{} for {step}", fit.step);
    assert!((10.0 * (fit.residual / noise.powi(2)).log10()).abs() < 0.3, "{}", fit.residual);
}

#[test]
fn drift_correction_keeps_a_tone_clean() {
    println!("THD+N in dB        resampler alone   wandering 1 ppm   whole path to a card");
    println!("   ppm            float     16 bits   float     16 bits   L24, float   L16, 16 bits");
    for ppm in [100.0, -100.0, 500.0, -500.0] {
        let step = STEP * (1.0 + ppm * 1e-6);
        let of = |samples: Vec<f32>| thd_n(&samples, step);
        let [alone, wandering] = [0.0, 1.0].map(|wander| {
            let float = of(resampled(ppm, wander, |sample| sample));
            (float, of(resampled(ppm, wander, quantised)))
        });
        // A card that runs slow plays what was captured faster, frame by frame.
        let float = of(played(-ppm, Codec::Pcm24));
        let path = (float, of(played(-ppm, Codec::Pcm16).into_iter().map(quantised).collect()));
        let row = [alone, wandering, path];
        print!("{ppm:>6}      ");
        row.iter().for_each(|(float, word)| print!("{float:>11.1} {word:>9.1}"));
        println!();
        assert!(
            row.iter().all(|(float, word)| *float <= -100.0 && *word <= -90.0),
            "{ppm} ppm: {row:.1?} dB"
        );
    }
}

/// When a stall of 60 ms begins, in seconds.
const STALL: f64 = 15.0;
/// Frames in 10 ms.
const SHORT: usize = RATE as usize / 100;

fn stalled() -> Outcome {
    // What is sent in these 3 ms takes 60 ms, and nothing overtakes it.
    let stalled = LinkSpec { delay: 60 * MS, ..wired() };
    let receiver = Receiver {
        ear: Ear::Card(card(20.0), 128),
        forward: vec![(0.0, wired()), (STALL, stalled), (STALL + 0.003, wired())],
        back: wired(),
        latency: 10 * MS,
        adapt: Some(Adapt { preset: Preset::Normal, least: 0, most: 250 * MS }),
        ..Receiver::default()
    };
    let scenario = Scenario {
        seconds: STALL + 31.0,
        sound: Sound::Tone(HERTZ),
        settle: STALL + 1.0,
        ..Scenario::default().heard_by(receiver)
    };
    run(&scenario, 1)
}

/// How unsteady a tone is, from each 10 ms to the next.
#[derive(Clone, Copy, Debug, Default)]
struct Unsteady {
    /// Off the amplitude that was sent, in decibels.
    level: f64,
    /// Off the phase that the tone would have at its own speed, in radians.
    phase: f64,
    /// Off the phase that it would have at the speed at which it is heard, in radians.
    step: f64,
}

impl Unsteady {
    fn of(samples: &[f32]) -> Self {
        let fits: Vec<Fit> = samples.chunks_exact(SHORT).map(|window| Fit::of(window, STEP)).collect();
        let mut worst = Self::default();
        for fit in &fits {
            worst.level = worst.level.max((20.0 * (fit.amplitude / AMPLITUDE).log10()).abs());
        }
        for pair in fits.windows(2) {
            let turned = pair[1].phase - pair[0].phase;
            let off = |step: f64| ((turned - step * SHORT as f64 + PI).rem_euclid(TAU) - PI).abs();
            worst.phase = worst.phase.max(off(STEP));
            worst.step = worst.step.max(off((pair[0].step + pair[1].step) / 2.0));
        }
        worst
    }

    fn clicks(self) -> bool {
        // The speed may change by 3500 ppm. A single frame too many or too few is a step of 0.14.
        self.level > 0.1 || self.phase > 3500e-6 * STEP * SHORT as f64 || self.step > 0.05
    }
}

#[test]
fn an_adaptive_buffer_comes_down_without_a_click() {
    let outcome = stalled();
    let after = |reason| {
        let changes = outcome.changes.iter().rev().filter(|(at, _)| *at > STALL);
        changes.map(|(_, latency)| *latency).find(|latency| latency.reason == reason).expect("a change").nanos
    };
    let (most, last) = (after(Reason::RanDry), after(Reason::Calm));
    assert!(most > 50 * MS && last < 20 * MS, "from {most} to {last} ns");
    assert_eq!(outcome.counters.realigned.get(), 1);
    // What is heard turns faster than it would by what the latency comes down.
    let fits = outcome.played.chunks_exact(SHORT).map(|window| Fit::of(window, STEP));
    let gained: f64 = fits.map(|fit| (fit.step / STEP - 1.0) * 10.0).sum();
    assert!(gained > 40.0, "came down by {gained} ms");
    let heard = Unsteady::of(&outcome.played);
    println!("{heard:.3?}, came down by {gained:.1} ms");
    assert!(!heard.clicks(), "{heard:.3?}");
    let mut skipped = outcome.played;
    skipped.remove(SHORT * 1000 + SHORT / 2);
    let skipped = Unsteady::of(&skipped);
    assert!(skipped.clicks(), "a frame that is left out goes unnoticed: {skipped:.3?}");
}
