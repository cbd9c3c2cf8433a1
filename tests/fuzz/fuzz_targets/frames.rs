//! Pictures of another program, with a header or without, to their end: each is whole.

#![no_main]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvenc_bridge::picture::{Format, Size};
use nvenc_bridge::source::frames::{Frames, Framing};
use nvenc_bridge::source::pipe::{Pipe, Place};
use nvenc_bridge::source::{Pacing, Reader, Shape};

const FORMATS: [Format; 5] = [Format::I420, Format::Nv12, Format::P010, Format::Rgba, Format::Bgra];

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    raw: Option<(u8, u8, u8)>,
    repeat: bool,
    skip: u8,
    octets: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Input { raw, repeat, skip, octets } = input;
    let framing = raw.map_or(Framing::Y4m, |(format, width, height)| {
        let size = Size { width: u32::from(width).max(1), height: u32::from(height).max(1) };
        let format = FORMATS[usize::from(format) % FORMATS.len()];
        Framing::Raw(Shape { format, size, rate: None, aspect: None })
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(octets).unwrap();
    let place = Place::File(file.path().into(), repeat);
    let pipe = Pipe::new(place, Arc::new(AtomicBool::new(false)));
    let Ok(mut frames) = Frames::open(pipe, framing, Pacing::Clock) else { return };
    let mut data = Vec::new();
    for _ in 0..8 {
        if !matches!(frames.read(&mut data, u64::from(skip % 4)), Ok(true)) {
            return;
        }
        let Shape { format, size, .. } = frames.shape();
        assert_eq!(data.len(), format.octets(size));
        assert!(octets.len() >= data.len());
    }
});
