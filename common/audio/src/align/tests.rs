use super::chirp::value;
use super::*;
use sim::random::Random;

const RATE: u32 = 44_100;
/// 10 ms: 3.43 m of air at 343 m/s.
const DELAY: f64 = 441.0;

/// What a microphone hears of a chirp: arrivals with delays in frames and levels, and white noise of this deviation.
fn heard(rate: u32, arrivals: &[(f64, f64)], noise: f64, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let sound = |frame: usize| -> f64 {
        arrivals.iter().map(|(delay, level)| level * value(rate, frame as f64 - delay)).sum()
    };
    (0..turn(rate)).map(|frame| (sound(frame) + noise * random.normal()) as f32).collect()
}

/// Deviation of noise of which the chirp stands so many decibels above, while it lasts.
fn noise_at(snr: f64) -> f64 {
    let chirp = chirp(RATE);
    let power = chirp.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / chirp.len() as f64;
    (power / 10f64.powf(snr / 10.0)).sqrt()
}

const SEEDS: u64 = 30;

#[test]
fn ten_milliseconds_are_found_within_a_sample_in_noise_as_loud_as_the_chirp() {
    println!("SNR      margin, least and middle     found   worst error");
    let finder = Finder::new(RATE);
    for snr in [20.0, 10.0, 0.0, -10.0, -20.0, -30.0, -40.0, -50.0] {
        let noise = noise_at(snr);
        let results: Vec<_> = (0..SEEDS)
            .map(|seed| {
                // Not on a whole sample.
                let delay = DELAY + seed as f64 / SEEDS as f64;
                (delay, finder.find(&heard(RATE, &[(delay, 1.0)], noise, seed)))
            })
            .collect();
        let mut margins: Vec<_> =
            results.iter().map(|(_, result)| result.map_or_else(|u| u.margin, |a| a.margin)).collect();
        margins.sort_by(f64::total_cmp);
        let errors: Vec<_> =
            results.iter().filter_map(|(delay, r)| r.ok().map(|a| (a.delay - delay).abs())).collect();
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let (least, middle) = (margins[0], margins[margins.len() / 2]);
        println!(
            "{snr:3} dB   {least:5.1} dB   {middle:5.1} dB   {:2} of {SEEDS}   {worst:.3}",
            errors.len()
        );
        // Whatever is found is right.
        assert!(worst < 1.0, "{snr} dB: {worst} samples");
        if snr >= 0.0 {
            assert!(errors.len() as u64 == SEEDS && least > 2.0 * LEAST_MARGIN, "{snr} dB: {least} dB");
        }
        if snr <= -40.0 {
            assert_eq!(errors.len(), 0, "{snr} dB");
        }
    }
}

#[test]
fn without_a_chirp_nothing_is_found() {
    let finder = Finder::new(RATE);
    for seed in 0..SEEDS {
        let noise = heard(RATE, &[], 0.1, seed);
        assert!(finder.find(&noise).unwrap_err().margin < 6.0, "seed {seed}");
    }
    assert_eq!(finder.find(&[]), Err(Unheard { margin: 0.0 }));
    assert_eq!(finder.find(&[0.0; 1000]), Err(Unheard { margin: 0.0 }));
    assert!(finder.find(&[f32::NAN; 1000]).is_err());
    assert!(finder.find(&[f32::INFINITY; 1000]).is_err());
    assert!(finder.find(&vec![0.5; turn(RATE) + 5]).is_err());
}

/// The direct sound, and a wall 6 dB weaker 3 ms later, as it is and among the answers of a whole room.
#[test]
fn echoes_do_not_win() {
    let finder = Finder::new(RATE);
    let echo = 0.003 * f64::from(RATE);
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let mut arrivals = vec![(DELAY, 1.0), (DELAY + echo, 0.5)];
        let found = finder.find(&heard(RATE, &arrivals, noise_at(0.0), seed)).unwrap();
        assert!((found.delay - DELAY).abs() < 1.0, "seed {seed}: {found:?}");
        // Thirty reflections that die away by 60 dB in 400 ms.
        arrivals.extend((0..30).map(|_| {
            let later = 0.4 * random.unit();
            let sign = if random.unit() < 0.5 { -0.35 } else { 0.35 };
            (DELAY + echo + later * f64::from(RATE), sign * 10f64.powf(-3.0 * later / 0.4))
        }));
        let found = finder.find(&heard(RATE, &arrivals, noise_at(0.0), seed)).unwrap();
        assert!((found.delay - DELAY).abs() < 1.0, "seed {seed} in a room: {found:?}");
    }
}

#[test]
fn direct_sound_that_is_weaker_than_a_reflection_counts_up_to_ten_decibels() {
    let finder = Finder::new(RATE);
    let echo = DELAY + 0.003 * f64::from(RATE);
    for (decibels, wanted) in [(-6.0, DELAY), (-9.0, DELAY), (-11.0, echo), (-20.0, echo)] {
        let direct = 10f64.powf(decibels / 20.0);
        for seed in 0..SEEDS {
            let found =
                finder.find(&heard(RATE, &[(DELAY, direct), (echo, 1.0)], noise_at(20.0), seed)).unwrap();
            assert!((found.delay - wanted).abs() < 1.0, "{decibels} dB, seed {seed}: {found:?}");
        }
    }
}

#[test]
fn every_rate_and_the_whole_range_of_delays_can_be_measured() {
    for rate in [8_000, 44_100, 48_000, 192_000] {
        let finder = Finder::new(rate);
        let last = length(rate) as f64;
        for delay in [0.0, 0.25 * last, last - 1.0] {
            let found = finder.find(&heard(rate, &[(delay, -0.01)], 1e-4, 1)).unwrap();
            assert!((found.delay - delay).abs() < 0.1, "{rate} Hz, {delay}: {found:?}");
        }
        assert!(finder.find(&heard(rate, &[(last + 100.0, 1.0)], 0.1, 1)).is_err(), "{rate} Hz");
    }
}

#[test]
fn the_chirp_is_within_its_level_and_begins_and_ends_in_silence() {
    let chirp = chirp(RATE);
    let most = chirp.iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
    assert!((0.99 * LEVEL..=LEVEL).contains(&f64::from(most)), "{most}");
    assert!(chirp[..20].iter().chain(&chirp[RATE as usize - 20..]).all(|sample| sample.abs() < 1e-5));
}
