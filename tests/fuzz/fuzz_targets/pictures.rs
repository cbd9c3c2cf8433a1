//! What other programs say and send of pictures: YUV4MPEG2's header, pictures of any form and size, the pattern's counter.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nvenc_bridge::convert;
use nvenc_bridge::picture::{Format, Picture, Size};
use nvenc_bridge::source::{pattern, y4m};

const FORMATS: [Format; 5] = [Format::I420, Format::Nv12, Format::P010, Format::Rgba, Format::Bgra];

fuzz_target!(|input: (u8, u8, u8, u8, u8, bool, &[u8])| {
    let (format, width, height, to_width, to_height, fitting, data) = input;
    if let Ok(shape) = y4m::header(data) {
        assert!(shape.size.width > 0 && shape.format.octets(shape.size) > 0);
    }
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    let size = Size { width: width.into(), height: height.into() };
    let to = Size { width: to_width.into(), height: to_height.into() };
    let mut data = data.to_vec();
    if fitting {
        data.resize(format.octets(size), 0);
    }
    let picture = Picture { format, size, data, at: Duration::ZERO, number: 0 };
    let mut scratch = Vec::new();
    if let Ok(planes) = convert::i420(&picture, to, &mut scratch) {
        assert_eq!(planes.len(), Format::I420.octets(to));
        let _ = pattern::read_counter(to, planes);
    }
    if let Ok(planes) = convert::nv12(&picture, to, &mut scratch) {
        assert_eq!(planes.len(), Format::Nv12.octets(to));
    }
});
