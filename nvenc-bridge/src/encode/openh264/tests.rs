use super::*;
use crate::encode::Codec;
use crate::encode::testing::{self, assert_nothing_is_ignored, assert_unbroken, nal_types, settings};

fn encode(settings: &Settings, count: u64, keys: &[u64]) -> Vec<EncodedPicture> {
    testing::encode(&mut open(settings).unwrap(), settings.size, count, keys)
}

fn keys(pictures: &[EncodedPicture]) -> Vec<u64> {
    pictures.iter().filter(|picture| picture.key).map(|picture| picture.number).collect()
}

#[test]
fn every_picture_comes_at_once_and_a_decoder_sees_them_all() {
    let settings = settings();
    let pictures = encode(&settings, 30, &[]);
    assert_eq!(
        pictures.iter().map(|picture| picture.number).collect::<Vec<_>>(),
        (0..30).collect::<Vec<_>>()
    );
    assert_unbroken(Codec::H264, settings.size, &pictures);
}

#[test]
fn key_pictures_come_when_due_and_when_asked_with_their_parameter_sets() {
    let pictures = encode(&settings(), 25, &[13]);
    assert_eq!(keys(&pictures), [0, 10, 13, 23]);
    for picture in &pictures {
        let types = nal_types(&picture.data);
        assert_eq!(picture.key, types.contains(&7) && types.contains(&8) && types.contains(&5), "{types:?}");
    }
    let asked = encode(&Settings { keyframe_interval: 0, ..settings() }, 25, &[13]);
    assert_eq!(keys(&asked), [0, 13]);
}

#[test]
fn a_picture_has_as_many_slices_as_asked() {
    for slices in [1, 2, 4] {
        let size = Size { width: 640, height: 480 };
        let pictures = encode(&Settings { slices, size, ..settings() }, 3, &[]);
        for picture in &pictures {
            let count = nal_types(&picture.data).iter().filter(|kind| matches!(kind, 1 | 5)).count();
            assert_eq!(count as u32, slices);
        }
        assert_unbroken(Codec::H264, size, &pictures);
    }
    let small = open(&Settings { slices: 32, ..settings() }).unwrap();
    assert_eq!(small.warnings.iter().map(|warning| warning.parameter).collect::<Vec<_>>(), ["numslices"]);
}

#[test]
fn nothing_is_ignored() {
    assert_nothing_is_ignored(Codec::H264, |settings| Box::new(open(settings).unwrap()));
}

#[test]
fn bit_rate_and_size_change_while_it_runs() {
    let first = settings();
    let mut encoder = open(&first).unwrap();
    let mut out = VecDeque::new();
    let mut run = |encoder: &mut Openh264, size, numbers: std::ops::Range<u64>| {
        out.clear();
        testing::pictures(size, numbers)
            .for_each(|picture| encoder.encode(&picture, false, &mut out).unwrap());
        Vec::from(std::mem::take(&mut out))
    };
    run(&mut encoder, first.size, 0..5);
    let quicker = Settings { average_bitrate: 3_000_000, max_bitrate: 3_000_000, ..first.clone() };
    encoder.change(&quicker).unwrap();
    assert_eq!(keys(&run(&mut encoder, first.size, 5..9)), [0; 0]);
    let slower = Settings { average_bitrate: 200_000, max_bitrate: 200_000, ..first.clone() };
    encoder.change(&slower).unwrap();
    assert_eq!(keys(&run(&mut encoder, first.size, 9..10)), [0; 0]);
    let size = Size { width: 160, height: 120 };
    encoder.change(&Settings { size, ..slower }).unwrap();
    let smaller = run(&mut encoder, size, 0..5);
    assert!(smaller[0].key);
    assert_unbroken(Codec::H264, size, &smaller);
}

#[test]
fn what_it_cannot_do_is_said() {
    let asked = Settings {
        quality: Quality::HighLatencyHigh,
        bitrate_mode: BitrateMode::VariableHq,
        max_b_frames: 2,
        intra_refresh_period: 30,
        intra_refresh_length: 10,
        vbv: Some(1),
        ..settings()
    };
    let warnings = mapping(&asked).warnings;
    let named: Vec<_> = warnings.iter().map(|warning| warning.parameter).collect();
    assert_eq!(
        named,
        ["quality", "bitratemode", "vbvbufsize", "intrarefreshperiod", "intrarefreshlength", "maxbframes"]
    );
}

#[test]
fn a_picture_of_another_size_is_an_error_and_not_a_fault() {
    let mut encoder = open(&settings()).unwrap();
    let small = testing::pictures(Size { width: 64, height: 64 }, 0..1).next().unwrap();
    let error = encoder.encode(&small, false, &mut VecDeque::new()).unwrap_err();
    assert!(error.to_string().contains("64x64"), "{error}");
}
