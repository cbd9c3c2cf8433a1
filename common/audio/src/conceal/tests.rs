use std::f32::consts::TAU;
use std::ops::Range;

use proptest::prelude::*;

use super::*;

const RATE: u32 = 44_100;
/// 4 ms at 44.1 kHz.
const RISE: usize = 176;
const GAP: usize = 441;

fn sine(range: Range<usize>) -> Vec<f32> {
    range.map(|n| (n as f32 * 0.05).sin() * 0.8).collect()
}

fn largest_step(samples: &[f32]) -> f32 {
    samples.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
}

/// What fills a gap of 10 ms after `heard`.
fn carried_on(heard: &[f32]) -> Vec<f32> {
    let mut concealer = Concealer::new(1, RATE);
    concealer.pass(&mut heard.to_vec());
    let mut out = vec![9.0; GAP];
    concealer.conceal(&mut out);
    out
}

fn energy(samples: impl IntoIterator<Item = f32>) -> f32 {
    samples.into_iter().map(|sample| sample * sample).sum()
}

fn error(a: &[f32], b: &[f32]) -> f32 {
    energy(a.iter().zip(b).map(|(a, b)| a - b))
}

/// The log-spectral distance in dB of two signals.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let level = |signal: &[f32], bin: usize| {
        let turn = |n: usize| TAU * (n * bin) as f32 / GAP as f32;
        let window = |n: usize| 0.5 - 0.5 * (TAU * n as f32 / GAP as f32).cos();
        let part = |wave: fn(f32) -> f32| -> f32 {
            signal.iter().enumerate().map(|(n, sample)| sample * window(n) * wave(turn(n))).sum()
        };
        10.0 * (part(f32::cos).powi(2) + part(f32::sin).powi(2) + 1e-9).log10()
    };
    let bins = 1..GAP / 2;
    (energy(bins.clone().map(|bin| level(a, bin) - level(b, bin))) / bins.len() as f32).sqrt()
}

#[test]
fn a_gap_in_a_sine_has_no_step_beyond_the_sines_own() {
    for gap in [1, 20, 128, 500] {
        let mut concealer = Concealer::new(1, RATE);
        let mut first = sine(0..600);
        concealer.pass(&mut first);
        let mut hole = vec![9.0; gap];
        concealer.conceal(&mut hole);
        let mut second = sine(600 + gap..1200);
        concealer.pass(&mut second);
        let whole: Vec<f32> = [&first[300..], &hole, &second].concat();
        // A sine of 0.05 rad a frame moves by 0.04 at most; fading adds up to 2 × 0.8 / 176.
        assert!(largest_step(&whole) < 0.04 + 0.01, "gap of {gap}: {}", largest_step(&whole));
        let after = RISE.min(second.len());
        assert_eq!(second[after..], sine(600 + gap..1200)[after..]);
    }
}

#[test]
fn pieces_give_the_same_as_the_whole() {
    let run = |pieces: &[usize]| {
        let mut concealer = Concealer::new(2, RATE);
        let mut audio = sine(0..4000);
        concealer.pass(&mut audio);
        let mut out = vec![0.0; 200];
        let mut rest = &mut out[..];
        for piece in pieces {
            let (now, later) = rest.split_at_mut(piece * 2);
            concealer.conceal(now);
            rest = later;
        }
        let mut back = sine(0..800);
        back.chunks_mut(pieces[0] * 2).for_each(|piece| concealer.pass(piece));
        [out, back].concat()
    };
    assert_eq!(run(&[100]), run(&[10, 40, 50]));
}

#[test]
fn sound_begins_from_silence() {
    let mut concealer = Concealer::new(1, RATE);
    let mut audio = vec![1.0; 2 * RISE];
    concealer.pass(&mut audio);
    assert!(audio[0] <= 1.0 / RISE as f32);
    assert_eq!(audio[RISE - 1..], vec![1.0; RISE + 1]);
}

#[test]
fn a_long_gap_falls_silent_and_silence_stays_silent() {
    let mut concealer = Concealer::new(1, RATE);
    concealer.pass(&mut sine(0..4000));
    let mut hole = vec![9.0; 3000];
    concealer.conceal(&mut hole);
    assert!(energy(hole[..660].iter().copied()) > 0.9 * energy(sine(4000..4660)));
    assert_eq!(hole[60 * 441 / 10..], vec![0.0; 354]);
    assert_eq!(carried_on(&[0.0; 4000]), vec![0.0; GAP]);
}

#[test]
fn a_tone_goes_on_through_a_gap() {
    let tone: Vec<f32> = (0..5000).map(|n| (TAU * 997.0 * n as f32 / RATE as f32).sin() * 0.5).collect();
    let (heard, lost) = tone[..4000 + GAP].split_at(4000);
    let share = error(&carried_on(heard), lost) / energy(lost.iter().copied());
    assert!(10.0 * share.log10() < -30.0, "{} dB", 10.0 * share.log10());
}

#[test]
fn a_voice_that_wavers_is_closer_than_repetition() {
    let mut phase = 0.0;
    let voice: Vec<f32> = (0..6000)
        .map(|n| {
            phase += TAU * 440.0 * (1.0 + 0.005 * (TAU * 5.5 * n as f32 / RATE as f32).sin()) / RATE as f32;
            (1..6).map(|k| (phase * k as f32).sin() / (4 * k) as f32).sum()
        })
        .collect();
    let mut sums = [0.0; 3];
    for start in (3000..5500).step_by(250) {
        let (heard, lost) = voice[..start + GAP].split_at(start);
        let packet = (0..GAP).map(|n| heard[start - 128 + n % 128]).collect();
        let fills = [carried_on(heard), packet, heard[start - GAP..].to_vec()];
        sums.iter_mut().zip(&fills).for_each(|(sum, fill)| *sum += error(fill, lost));
    }
    assert!(sums[1..].iter().all(|rival| sums[0] < 0.8 * rival), "{sums:?}");
}

#[test]
fn noise_keeps_its_spectrum_better_than_silence_and_repetition() {
    let mut random = sim::random::Random::new(11);
    let mut noise = vec![0.0; 2];
    for n in 2..40_000 {
        let next = 1.6 * noise[n - 1] - 0.9 * noise[n - 2] + 0.02 * (random.unit() as f32 - 0.5);
        noise.push(next);
    }
    let mut sums = [0.0; 3];
    for start in (4000..39_000).step_by(3500) {
        let (heard, lost) = noise[..start + GAP].split_at(start);
        let packet: Vec<f32> = (0..GAP).map(|n| heard[start - 128 + n % 128]).collect();
        let fills = [carried_on(heard), packet, vec![0.0; GAP]];
        sums.iter_mut().zip(&fills).for_each(|(sum, fill)| *sum += distance(fill, lost));
    }
    assert!(sums[0] < 0.95 * sums[1] && sums[0] < 0.5 * sums[2], "{sums:?}");
}

proptest! {
    #[test]
    fn any_samples_at_any_rate_are_carried_on_within_their_range(
        channels in prop::sample::select(vec![1usize, 2, 3, 16, 255]),
        rate in prop::sample::select(vec![8000u32, 44_100, 192_000]),
        bits in prop::collection::vec(any::<u32>(), 300),
        seed: u8,
    ) {
        let mut concealer = Concealer::new(channels, rate);
        // A quarter of the runs has the whole range of floats, the rest what sound may be.
        let sample = |bits: u32| if seed < 64 { f32::from_bits(bits) } else { bits as i32 as f32 / 2f32.powi(31) };
        let mut audio: Vec<f32> = (0..2100 * channels).map(|n| sample(bits[n % bits.len()])).collect();
        concealer.pass(&mut audio);
        let peak = audio.iter().filter(|s| s.is_finite()).fold(0.0f32, |peak, s| peak.max(s.abs()));
        let mut hole = vec![f32::NAN; 300 * channels];
        concealer.conceal(&mut hole);
        prop_assert!(hole.iter().all(|sample| sample.abs() <= peak));
    }
}
