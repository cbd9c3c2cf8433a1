//! What the tests have in common: settings, pictures, a driver, and what must hold at the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nvenc_bridge::encode::nvenc::Nvenc;
use nvenc_bridge::encode::nvenc::library::{Driver, Paths};
use nvenc_bridge::encode::{BitrateMode, Codec, EncodedPicture, Encoder, Error, Profile, Quality, Settings};
use nvenc_bridge::picture::{Format, Picture, Rate, Size};
use nvenc_double::Double;

/// Small, and not a multiple of anything that buffers are.
pub(crate) const SIZE: Size = Size { width: 322, height: 182 };

pub(crate) fn settings(codec: Codec) -> Settings {
    Settings {
        codec,
        profile: Profile::Main,
        quality: Quality::LowLatencyMedium,
        size: SIZE,
        rate: Rate { pictures: 30, seconds: 1 },
        aspect: None,
        keyframe_interval: 30,
        max_b_frames: 0,
        intra_refresh_period: 0,
        intra_refresh_length: 0,
        bitrate_mode: BitrateMode::Constant,
        average_bitrate: 2_000_000,
        max_bitrate: 0,
        vbv: None,
        slices: 1,
    }
}

/// A picture whose luma says its number, in rows of slowly changing grey.
pub(crate) fn picture(number: u64, format: Format, size: Size) -> Picture {
    let mut data = vec![128; format.octets(size)];
    let (width, height) = (size.width as usize, size.height as usize);
    let octets = if format == Format::P010 { 2 } else { 1 };
    for (y, row) in data.chunks_exact_mut(width * octets).take(height).enumerate() {
        row.fill((16 + (number as usize * 7 + y / 4) % 200) as u8);
    }
    Picture { format, size, data, at: Duration::from_millis(1000 + 33 * number), number }
}

pub(crate) fn driver(double: &Double) -> Result<Arc<Driver>, Error> {
    Driver::open(&Paths::within(double.folder()))
}

pub(crate) fn open(double: &Double, settings: &Settings, format: Format) -> Result<Nvenc, Error> {
    Nvenc::open(&driver(double)?, None, settings, format)
}

/// Encodes so many pictures and ends the stream.
pub(crate) fn run(
    encoder: &mut Nvenc,
    pictures: u64,
    format: Format,
    size: Size,
) -> Result<Vec<EncodedPicture>, Error> {
    let mut out = VecDeque::new();
    for number in 0..pictures {
        encoder.encode(&picture(number, format, size), false, &mut out)?;
    }
    encoder.finish(&mut out)?;
    Ok(out.into())
}

/// Nothing was done against the rules, and all was given back.
pub(crate) fn clean(double: &Double) {
    assert_eq!(double.violations(), Vec::<String>::new());
    assert_eq!(double.calls("open").len(), double.calls("destroy").len(), "sessions given back");
}
