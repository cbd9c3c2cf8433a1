use super::*;
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

const RATES: [u32; 4] = [8_000, 44_100, 48_000, 192_000];

fn play(test: Test, rate: u32, from: u64, frames: usize) -> Vec<f32> {
    Signal::new(test, rate).samples(Position(from)).take(frames).collect()
}

/// As AES17 has it.
fn dbfs(samples: &[f32]) -> f64 {
    let power = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
    10.0 * (2.0 * power).log10()
}

fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |most, sample| most.max(sample.abs()))
}

/// How many stretches of sound there are, with at least 50 ms of silence between two.
fn stretches(samples: &[f32], rate: u32) -> usize {
    let gap = rate as usize / 20;
    let loud: Vec<_> = (0..samples.len()).filter(|n| samples[*n] != 0.0).collect();
    loud.windows(2).filter(|pair| pair[1] - pair[0] > gap).count() + usize::from(!loud.is_empty())
}

#[test]
fn tone_and_noise_are_twenty_decibels_below_full_scale() {
    for rate in RATES {
        let second = rate as usize;
        for test in [Test::Tone, Test::Noise] {
            let level = dbfs(&play(test, rate, 0, 4 * second));
            assert!((level + 20.0).abs() < 0.01, "{test:?} at {rate} Hz: {level}");
        }
        let beep = &play(Test::Beeps(1), rate, 0, second / 10)[second / 50..second * 8 / 100];
        assert!((dbfs(beep) + 20.0).abs() < 0.1, "{} at {rate} Hz", dbfs(beep));
        assert!(
            peak(&play(Test::Noise, rate, 0, 4 * second)) < 0.5,
            "{rate} Hz: the crest fits any gain up to 6 dB"
        );
    }
}

#[test]
fn pink_noise_falls_by_three_decibels_an_octave() {
    for rate in RATES {
        let mut spectrum: Vec<_> =
            play(Test::Noise, rate, 1234, 1 << 17).into_iter().map(Complex::from).collect();
        FftPlanner::new().plan_fft_forward(spectrum.len()).process(&mut spectrum);
        let bin = |hertz: f64| (hertz * spectrum.len() as f64 / f64::from(rate)) as usize;
        // Mean power density in each octave, in decibels.
        let octaves: Vec<f64> = (0..)
            .map(|n| 40.0 * 2f64.powi(n))
            .take_while(|low| 2.0 * low <= (0.45 * f64::from(rate)).min(20_000.0))
            .map(|low| {
                let bins = &spectrum[bin(low)..bin(2.0 * low)];
                10.0 * (bins.iter().map(|bin| f64::from(bin.norm_sqr())).sum::<f64>() / bins.len() as f64)
                    .log10()
            })
            .collect();
        let slope = (octaves[octaves.len() - 1] - octaves[0]) / (octaves.len() - 1) as f64;
        assert!((slope + 3.01).abs() < 0.5, "{rate} Hz: {slope} dB an octave");
        for pair in octaves.windows(2) {
            assert!((pair[1] - pair[0] + 3.01).abs() < 1.5, "{rate} Hz: {octaves:?}");
        }
    }
}

#[test]
fn beeps_are_as_many_as_asked_for_and_come_again_after_a_pause() {
    for rate in RATES {
        for count in [1u16, 2, 7, 40] {
            let round = rate as usize * 3 / 10 * (usize::from(count) + PAUSE as usize);
            let twice = play(Test::Beeps(count), rate, 0, 2 * round);
            assert_eq!(stretches(&twice[..round], rate), count.into(), "{rate} Hz");
            assert_eq!(twice[..round], twice[round..], "{rate} Hz");
            let pause = twice[..round].iter().rev().take_while(|sample| **sample == 0.0).count();
            assert!(pause > rate as usize * 3 / 2, "{rate} Hz: {pause} frames");
        }
        assert_eq!(peak(&play(Test::Beeps(0), rate, 0, rate as usize)), 0.0);
    }
}

#[test]
fn a_click_goes_towards_positive_first_and_furthest_and_leaves_nothing() {
    for rate in RATES {
        let click = play(Test::Click, rate, 0, rate as usize);
        let first = click.iter().find(|sample| sample.abs() > 1e-3);
        assert!(first.is_some_and(|first| *first > 0.0), "{rate} Hz: {first:?}");
        let (most, least) = click.iter().fold((0.0f32, 0.0f32), |(m, l), s| (m.max(*s), l.min(*s)));
        assert!(
            (0.49..=0.5).contains(&most) && (-0.0501..-0.04).contains(&least),
            "{rate} Hz: {most}, {least}"
        );
        let sum: f64 = click.iter().map(|sample| f64::from(*sample)).sum();
        assert!(sum.abs() < 1e-3 * f64::from(rate) * 0.001, "{rate} Hz: {sum}");
        assert_eq!(stretches(&play(Test::Click, rate, 0, 5 * rate as usize), rate), 5);
    }
}

#[test]
fn chirps_take_turns() {
    let (rate, turn) = (8_000, align::turn(8_000));
    let chirp = align::chirp(rate);
    let played: Vec<_> = (0..3).map(|n| play(Test::Chirp { turn: n, turns: 3 }, rate, 0, 6 * turn)).collect();
    for (who, played) in played.iter().enumerate() {
        for n in 0..6 {
            let (sound, rest) = played[n * turn..(n + 1) * turn].split_at(chirp.len());
            let expected = if n % 3 == who { &chirp[..] } else { &vec![0.0; chirp.len()] };
            assert!(sound == expected && peak(rest) == 0.0, "client {who} in turn {n}");
        }
    }
}

#[test]
fn a_signal_goes_on_wherever_it_is_taken_up() {
    for test in [Test::Beeps(3), Test::Click, Test::Noise, Test::Tone, Test::Chirp { turn: 1, turns: 2 }] {
        let signal = Signal::new(test, 8_000);
        let whole: Vec<_> = signal.samples(Position(0)).take(60_000).collect();
        for start in [1, 7_999, 31_999, 32_001, 47_500] {
            let later: Vec<_> = signal.samples(Position(start)).take(10_000).collect();
            assert_eq!(later, whole[start as usize..start as usize + 10_000], "{test:?} from {start}");
        }
        // Positions may be anything.
        assert_eq!(signal.samples(Position(u64::MAX - 5)).take(10).count(), 10);
    }
}
