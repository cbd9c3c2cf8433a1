//! What happens to a stream whose encoder fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nvenc_bridge::encode::standby::{Open, Standby};
use nvenc_bridge::encode::{Codec, EncodedPicture, Encoder, Error, Settings, Warning};
use nvenc_bridge::picture::{Format, Picture};
use nvenc_double::Double;

use crate::desk::{SIZE, clean, driver, picture, settings};

/// Gives a key picture first, then others, of one octet each, and fails after the last.
struct Plain {
    name: &'static str,
    left: u64,
    begun: bool,
}

impl Encoder for Plain {
    fn name(&self) -> &str {
        self.name
    }

    fn warnings(&self) -> &[Warning] {
        &[]
    }

    fn encode(
        &mut self,
        picture: &Picture,
        key: bool,
        out: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::Failed("worn out".into()))?;
        out.push_back(EncodedPicture {
            data: vec![0],
            key: key || !self.begun,
            at: picture.at,
            number: picture.number,
            took: Duration::ZERO,
        });
        self.begun = true;
        Ok(())
    }

    fn change(&mut self, _: &Settings) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self, _: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
        Ok(())
    }
}

fn plain() -> Open {
    lasting("plain", u64::MAX)
}

fn lasting(name: &'static str, left: u64) -> Open {
    Box::new(move |_| Ok(Box::new(Plain { name, left, begun: false })))
}

fn nvenc(double: &Double) -> Open {
    let driver = driver(double).unwrap();
    Box::new(move |settings| {
        let encoder = nvenc_bridge::encode::nvenc::Nvenc::open(&driver, None, settings, Format::Nv12)?;
        Ok(Box::new(encoder))
    })
}

/// Numbers of the pictures that came, and of the key pictures among them.
fn stream(standby: &mut Standby, pictures: u64) -> (Vec<u64>, Vec<u64>) {
    let mut out = VecDeque::new();
    for number in 0..pictures {
        let begun = Instant::now();
        standby.encode(&picture(number, Format::Nv12, SIZE), false, &mut out).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "picture {number}");
    }
    let keys = out.iter().filter(|unit| unit.key).map(|unit| unit.number);
    (out.iter().map(|unit| unit.number).collect(), keys.collect())
}

fn forever() -> Settings {
    Settings { keyframe_interval: 0, ..settings(Codec::H264) }
}

#[test]
fn a_card_lost_in_mid_stream_loses_no_picture_and_begins_with_a_key_picture() {
    for script in ["fail_at 10", "fail_at 10\nfail_status 18", "fail_at 10\nfail_once 1"] {
        let Some(double) = Double::new(script).unwrap() else { return };
        let mut standby = Standby::new(nvenc(&double), Some(plain()), &forever()).unwrap();
        assert_eq!(stream(&mut standby, 20), ((0..20).collect(), vec![0, 10]), "{script}");
        assert!(standby.stands_in());
        let [warning] = standby.warnings() else { panic!("one warning: {:?}", standby.warnings()) };
        assert!(warning.message.ends_with("plain encodes instead"), "{}", warning.message);
        drop(standby);
        clean(&double);
    }
}

#[test]
fn a_card_that_worked_long_is_opened_anew() {
    let Some(double) = Double::new("fail_at 400\nfail_once 1").unwrap() else { return };
    let mut standby = Standby::new(nvenc(&double), Some(plain()), &forever()).unwrap();
    assert_eq!(stream(&mut standby, 420), ((0..420).collect(), vec![0, 400]));
    assert!(!standby.stands_in());
    assert!(standby.warnings()[0].message.ends_with("NVENC on Double 0 was opened anew"));
}

#[test]
fn without_a_card_another_encoder_begins_and_without_another_the_reason_is_given() {
    let Some(double) = Double::new("open_status 2").unwrap() else { return };
    let mut standby = Standby::new(nvenc(&double), Some(plain()), &forever()).unwrap();
    assert_eq!(stream(&mut standby, 3), (vec![0, 1, 2], vec![0]));
    assert!(standby.warnings()[0].message.contains("no NVENC engine"));
    let Err(Error::Unavailable(line)) = Standby::new(nvenc(&double), None, &forever()) else {
        panic!("it opened")
    };
    assert!(line.contains("no NVENC engine"), "{line}");
}

#[test]
fn without_another_encoder_a_failure_is_the_end() {
    let Some(double) = Double::new("fail_at 2").unwrap() else { return };
    let mut standby = Standby::new(nvenc(&double), None, &forever()).unwrap();
    let mut out = VecDeque::new();
    let results =
        (0..4).map(|number| standby.encode(&picture(number, Format::Nv12, SIZE), false, &mut out).is_ok());
    assert_eq!(results.collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn what_happens_again_and_again_is_told_once() {
    let mut standby = Standby::new(lasting("brief", 400), None, &forever()).unwrap();
    assert_eq!(stream(&mut standby, 1300).1, [0, 400, 800, 1200]);
    let [warning] = standby.warnings() else { panic!("one warning: {:?}", standby.warnings()) };
    assert_eq!(warning.message, "worn out; brief was opened anew");
}
