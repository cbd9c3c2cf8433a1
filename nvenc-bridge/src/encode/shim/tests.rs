use super::*;
use crate::encode::software::Software;
use crate::encode::testing::{self, assert_nothing_is_ignored, assert_unbroken, nal_types, settings};
use crate::encode::{BitrateMode, Quality};
use crate::picture::Size;

/// Those that this program was built with.
fn all() -> Vec<(Software, Codec)> {
    [(Software::X264, Codec::H264), (Software::X265, Codec::H265), (Software::Svtav1, Codec::Av1)]
        .into_iter()
        .filter(|(software, _)| software.there().is_ok())
        .collect()
}

fn encode(software: Software, settings: &Settings, count: u64, keys: &[u64]) -> Vec<EncodedPicture> {
    testing::encode(&mut *software.open(settings).unwrap(), settings.size, count, keys)
}

fn keys(pictures: &[EncodedPicture]) -> Vec<u64> {
    pictures.iter().filter(|picture| picture.key).map(|picture| picture.number).collect()
}

#[test]
fn every_picture_comes_and_a_decoder_sees_them_all_in_order() {
    for (software, codec) in all() {
        for quality in [Quality::LowLatencyMedium, Quality::HighLatencyHigh] {
            let settings = Settings { codec, quality, max_b_frames: 2, ..settings() };
            let mut pictures = encode(software, &settings, 30, &[]);
            assert_unbroken(codec, settings.size, &pictures);
            pictures.sort_by_key(|picture| picture.number);
            assert_eq!(
                pictures.iter().map(|picture| picture.number).collect::<Vec<_>>(),
                (0..30).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn key_pictures_come_when_due_and_when_asked() {
    for (software, codec) in all() {
        let plain = Settings { codec, ..settings() };
        assert_eq!(keys(&encode(software, &plain, 25, &[])), [0, 10, 20], "{software:?}");
        let asked = Settings { keyframe_interval: 0, ..plain };
        assert_eq!(keys(&encode(software, &asked, 25, &[13])), [0, 13], "{software:?}");
    }
}

#[test]
fn a_low_latency_picture_comes_before_the_next_is_handed_in() {
    for (software, codec) in all().into_iter().filter(|(_, codec)| *codec != Codec::Av1) {
        let settings = Settings { codec, ..settings() };
        let mut encoder = software.open(&settings).unwrap();
        let mut out = VecDeque::new();
        for picture in testing::pictures(settings.size, 0..10) {
            encoder.encode(&picture, false, &mut out).unwrap();
            assert_eq!(out.len() as u64, picture.number + 1, "{software:?}");
        }
    }
}

#[test]
fn a_picture_has_as_many_slices_as_asked() {
    let size = Size { width: 640, height: 480 };
    for (software, codec) in all().into_iter().filter(|(_, codec)| *codec == Codec::H264) {
        for quality in [Quality::LowLatencyMedium, Quality::HighLatencyLow] {
            for slices in [1, 4, 30] {
                let settings = Settings { codec, size, quality, slices, ..settings() };
                for picture in encode(software, &settings, 3, &[]) {
                    let count = nal_types(&picture.data).iter().filter(|kind| matches!(kind, 1 | 5)).count();
                    assert_eq!(count as u32, slices, "{quality:?}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_ignored() {
    for (software, codec) in all() {
        assert_nothing_is_ignored(codec, |settings| software.open(settings).unwrap());
    }
}

#[test]
fn a_refresh_runs_without_key_pictures_and_one_that_is_asked_for_still_comes() {
    let refresh =
        Settings { keyframe_interval: 0, intra_refresh_period: 10, intra_refresh_length: 9, ..settings() };
    for (software, codec) in all().into_iter().filter(|(_, codec)| *codec != Codec::Av1) {
        let settings = Settings { codec, ..refresh.clone() };
        assert_eq!(keys(&encode(software, &settings, 35, &[])), [0], "{software:?}");
        let asked = encode(software, &settings, 35, &[17]);
        assert_eq!(keys(&asked), [0, 17], "{software:?}");
        assert_unbroken(codec, settings.size, &asked);
    }
}

#[test]
fn a_change_loses_no_picture() {
    for (software, codec) in all() {
        let first = Settings { codec, quality: Quality::HighLatencyLow, ..settings() };
        let mut encoder = software.open(&first).unwrap();
        let mut out = VecDeque::new();
        let run = |encoder: &mut dyn Encoder, numbers, out: &mut VecDeque<_>| {
            testing::pictures(first.size, numbers)
                .for_each(|picture| encoder.encode(&picture, false, out).unwrap());
        };
        run(&mut *encoder, 0..12, &mut out);
        encoder.change(&Settings { average_bitrate: 2_000_000, ..first.clone() }).unwrap();
        run(&mut *encoder, 12..24, &mut out);
        let bitrate_mode = BitrateMode::VariableHq;
        encoder.change(&Settings { bitrate_mode, keyframe_interval: 5, ..first.clone() }).unwrap();
        run(&mut *encoder, 24..36, &mut out);
        encoder.finish(&mut out).unwrap();
        assert_unbroken(codec, first.size, &Vec::from(out));
    }
}

#[test]
fn another_bit_rate_holds_at_once() {
    for (software, codec) in all() {
        let first = Settings { codec, vbv: Some(40_000), ..settings() };
        let mut encoder = software.open(&first).unwrap();
        let mut out = VecDeque::new();
        let mut octets = |encoder: &mut dyn Encoder, numbers| {
            for picture in testing::pictures(first.size, numbers) {
                encoder.encode(&testing::with_noise(picture), false, &mut out).unwrap();
            }
            out.drain(..).map(|picture| picture.data.len()).sum::<usize>()
        };
        let before = octets(&mut *encoder, 0..30);
        encoder
            .change(&Settings { average_bitrate: 250_000, max_bitrate: 250_000, ..first.clone() })
            .unwrap();
        octets(&mut *encoder, 30..40);
        let after = octets(&mut *encoder, 40..70);
        assert!(after < before / 2, "{software:?}: {before} octets, then {after}");
    }
}
