use super::*;
use crate::tone::{Fit, tone};
use proptest::prelude::*;

/// Samples of full scale ±1 as packets.
fn encode(pcm: &[f32], channels: u16, spec: &Spec) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(channels, spec).unwrap();
    let length = usize::from(spec.frame.frames()) * usize::from(channels);
    let mut out = [0; 8000];
    let mut packet = |pcm| {
        let written = encoder.encode(pcm, &mut out).unwrap();
        out[..written].to_vec()
    };
    pcm.chunks_exact(length).map(&mut packet).collect()
}

fn decode(packets: &[Vec<u8>], channels: u16) -> Vec<f32> {
    let mut decoder = Decoder::new(channels).unwrap();
    let mut out = vec![0.0; MAX_FRAMES * usize::from(channels)];
    let mut all = Vec::new();
    for packet in packets {
        let frames = decoder.decode(packet, &mut out).unwrap();
        assert_eq!(Some(frames), super::frames(packet));
        all.extend_from_slice(&out[..frames * usize::from(channels)]);
    }
    all
}

/// Vowels of a gliding pitch that come and go, as speech does: 20 harmonics under three formants.
fn speech(frames: usize) -> Vec<f32> {
    let mut phase = 0.0f64;
    (0..frames)
        .map(|n| {
            let t = n as f64 / 48_000.0;
            let pitch = 120.0 + 30.0 * (9.0 * t).sin();
            phase += std::f64::consts::TAU * pitch / 48_000.0;
            let envelope = 0.2 + 0.8 * (14.0 * t).sin().max(0.0);
            let formants = [600.0 + 300.0 * (5.0 * t).sin(), 1200.0 + 500.0 * (7.0 * t).sin(), 2500.0];
            let voice = (1..=20).map(|k| {
                let frequency = pitch * f64::from(k);
                let gain: f64 =
                    formants.iter().map(|f| (-((frequency - f) / 150.0).powi(2)).exp() + 0.02).sum();
                gain * (phase * f64::from(k)).sin()
            });
            (voice.sum::<f64>() * envelope * 0.1) as f32
        })
        .collect()
}

fn power(samples: impl Iterator<Item = f32>) -> f64 {
    samples.map(|s| f64::from(s).powi(2)).sum()
}

/// Level of `a - b` relative to `b`, in decibels.
fn error(a: &[f32], b: &[f32]) -> f64 {
    10.0 * (power(a.iter().zip(b).map(|(a, b)| a - b)) / power(b.iter().copied())).log10()
}

#[test]
fn a_tone_comes_through_in_packets_of_any_length() {
    for frame in FrameTime::ALL {
        for application in [Application::LowDelay, Application::Audio] {
            let spec = Spec { frame, application, ..Spec::default() };
            let pcm = tone(997.0, RATE, 48_000);
            let packets = encode(&pcm, 1, &spec);
            assert_eq!(packets.len(), 48_000 / usize::from(frame.frames()));
            let out = decode(&packets, 1);
            let fit = Fit::of(&out[4000..], 997.0, RATE);
            assert!((fit.amplitude - 0.5).abs() < 0.01, "{spec:?}: amplitude {}", fit.amplitude);
            assert!(fit.residual < -25.0, "{spec:?}: residual {} dB", fit.residual);
        }
    }
}

#[test]
fn the_output_lags_by_the_lookahead() {
    for (application, lookahead) in [(Application::LowDelay, 120), (Application::Audio, 312)] {
        let spec = Spec { application, ..Spec::default() };
        assert_eq!(Encoder::new(1, &spec).unwrap().lookahead(), lookahead);
        let pcm = speech(48_000);
        let out = decode(&encode(&pcm, 1, &spec), 1);
        let at = |lag: usize| error(&out[lag..], &pcm[..out.len() - lag]);
        let best = (lookahead - 40..lookahead + 40).min_by(|a, b| at(*a).total_cmp(&at(*b))).unwrap();
        assert!(best.abs_diff(lookahead) <= 1, "{application:?}: {best} frames");
    }
}

#[test]
fn a_constant_rate_is_constant_and_room_is_kept() {
    let spec = Spec { rate_control: RateControl::Cbr, bitrate: Some(96_000), ..Spec::default() };
    for packet in encode(&speech(24_000), 1, &spec) {
        assert_eq!(packet.len(), spec.payload_length(1));
    }
    let mut encoder = Encoder::new(2, &Spec::default()).unwrap();
    let mut small = [0; 40];
    assert!(encoder.encode(&speech(480), &mut small).is_some_and(|written| written <= 40));
    assert_eq!(encoder.encode(&[0.0; 100], &mut small), None);
    assert_eq!(encoder.encode(&[0.0; 480], &mut []), None);
}

#[test]
fn bit_rates_are_for_all_channels_and_kept_in_range() {
    let spec = |bitrate| Spec { bitrate, ..Spec::default() };
    assert_eq!(spec(None).total_bitrate(2), 192_000);
    assert_eq!(spec(Some(1)).total_bitrate(3), 18_000);
    assert_eq!(spec(Some(u32::MAX)).total_bitrate(255), 255 * 510_000);
    assert_eq!(spec(None).payload_length(1), 60);
}

#[test]
fn a_lost_packet_is_made_up_from_what_came_before() {
    let packets = encode(&tone(997.0, RATE, 24_000), 1, &Spec::default());
    let mut decoder = Decoder::new(1).unwrap();
    let mut out = vec![0.0; MAX_FRAMES];
    for packet in &packets[..50] {
        decoder.decode(packet, &mut out).unwrap();
    }
    assert_eq!(decoder.conceal(240, &mut out), Some(240));
    let level = power(out[..240].iter().copied()) / 240.0;
    assert!((0.03..0.2).contains(&level), "the tone goes on: {level}");
    for _ in 0..200 {
        decoder.conceal(240, &mut out).unwrap();
    }
    assert!(power(out[..240].iter().copied()) / 240.0 < 1e-3, "but not for ever");
    assert_eq!(decoder.conceal(100, &mut out), None, "not a multiple of 2.5 ms");
    assert_eq!(decoder.conceal(240, &mut out[..100]), None);
}

#[test]
fn redundancy_is_better_than_a_guess() {
    let spec = Spec {
        frame: FrameTime::Ms20,
        application: Application::Voip,
        bitrate: Some(32_000),
        expected_loss: 20,
        ..Spec::default()
    };
    let packets = encode(&speech(96_000), 1, &spec);
    let whole = decode(&packets, 1);
    let (mut guessed, mut recovered, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for lost in (20..packets.len() - 1).step_by(5) {
        assert!(has_redundancy(&packets[lost + 1]));
        for (redundant, to) in [(false, &mut guessed), (true, &mut recovered)] {
            let mut decoder = Decoder::new(1).unwrap();
            let mut out = vec![0.0; MAX_FRAMES];
            for packet in &packets[..lost] {
                decoder.decode(packet, &mut out).unwrap();
            }
            let written = match redundant {
                true => decoder.recover(&packets[lost + 1], 960, &mut out),
                false => decoder.conceal(960, &mut out),
            };
            assert_eq!(written, Some(960));
            to.extend_from_slice(&out[..960]);
        }
        truth.extend_from_slice(&whole[lost * 960..][..960]);
    }
    let (guessed, recovered) = (error(&guessed, &truth), error(&recovered, &truth));
    assert!(recovered < guessed - 3.0, "{recovered} dB against {guessed} dB");
    assert!(!has_redundancy(&encode(&speech(960), 1, &Spec::default())[0]), "no speech mode, none of it");
}

#[test]
fn channels_stay_apart() {
    for channels in [2u16, 3, 6, 16] {
        let count = usize::from(channels);
        for loud in 0..count {
            let mut pcm = vec![0.0; 24_000 * count];
            let tone = tone(997.0, RATE, 24_000);
            pcm.iter_mut().skip(loud).step_by(count).zip(tone).for_each(|(to, from)| *to = from);
            let out = decode(&encode(&pcm, channels, &Spec::default()), channels);
            for channel in 0..count {
                let heard = power(out.iter().skip(channel).step_by(count).skip(4800).copied()) / 19_200.0;
                let level = 10.0 * (heard / 0.125).max(1e-12).log10();
                let apart = if channel == loud { level > -0.3 } else { level < -40.0 };
                assert!(apart, "{loud} of {channels} in {channel}: {level} dB");
            }
        }
    }
}

#[test]
fn the_layout_is_the_same_at_both_ends() {
    assert_eq!(Layout::of(1), Layout { streams: 1, coupled: 0, mapping: vec![0] });
    assert_eq!(Layout::of(2), Layout { streams: 1, coupled: 1, mapping: vec![0, 1] });
    assert_eq!(Layout::of(5), Layout { streams: 3, coupled: 2, mapping: vec![0, 1, 2, 3, 4] });
    let spec = Spec { frame: FrameTime::Ms2_5, ..Spec::default() };
    let packets = encode(&vec![0.0; 120 * 255], 255, &spec);
    assert_eq!(decode(&packets, 255).len(), 120 * 255);
}

#[test]
fn lengths_are_told_from_the_first_octets() {
    assert_eq!(frames(&[]), None);
    // Configuration 31, CELT 20 ms: one frame, two, and by an octet of its own 0, 6, 7.
    assert_eq!(frames(&[0xf8]), Some(960));
    assert_eq!(frames(&[0xf9]), Some(1920));
    assert_eq!(frames(&[0xfb]), None);
    assert_eq!(frames(&[0xfb, 0]), None);
    assert_eq!(frames(&[0xfb, 6]), Some(MAX_FRAMES));
    assert_eq!(frames(&[0xfb, 7]), None);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..12),
                              channels in 1u16..5) {
        let mut decoder = Decoder::new(channels).unwrap();
        let mut out = vec![0.0; MAX_FRAMES * usize::from(channels)];
        for payload in payloads {
            let told = frames(&payload);
            let _ = has_redundancy(&payload);
            if let Some(decoded) = decoder.decode(&payload, &mut out) {
                prop_assert_eq!(Some(decoded), told);
            }
            let _ = decoder.recover(&payload, 960, &mut out);
            prop_assert!(decoder.conceal(120, &mut out).is_some());
        }
    }
}
