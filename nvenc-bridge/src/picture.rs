//! Pictures as they come in.

use std::time::Duration;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels from left to right, 1 to 16 384.
    pub width: u32,
    /// Pixels from top to bottom, 1 to 16 384.
    pub height: u32,
}

/// Pictures a second, as a fraction: 30000/1001 is 29.97.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Pictures in [`Rate::seconds`] seconds.
    pub pictures: u32,
    /// 1, or 1001 for the rates of television.
    pub seconds: u32,
}

/// How pixels lie in memory. Rows follow each other without padding; planes follow each other in the order of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 8-bit luma, then both chroma planes at half the width and height, rounded up.
    I420,
    /// 8-bit luma, then one plane of chroma pairs (Cb, Cr) at half the width and height, rounded up.
    Nv12,
    /// As [`Format::Nv12`] with 16-bit little-endian words whose upper 10 bits are used.
    P010,
    /// 8-bit red, green, blue, alpha.
    Rgba,
    /// 8-bit blue, green, red, alpha.
    Bgra,
}

/// One picture and the time at which it was taken.
#[derive(Clone, Debug)]
pub struct Picture {
    /// How `data` lies.
    pub format: Format,
    /// Of the picture.
    pub size: Size,
    /// [`Format::octets`] of `size`.
    pub data: Vec<u8>,
    /// On the clock of [`os::clock`], when it was taken.
    pub at: Duration,
    /// Pictures of the source before this one; a picture that was dropped leaves a gap.
    pub number: u64,
}

impl Format {
    /// Octets of one picture.
    pub fn octets(self, size: Size) -> usize {
        let (width, height) = (size.width as usize, size.height as usize);
        let chroma = 2 * width.div_ceil(2) * height.div_ceil(2);
        match self {
            Self::I420 | Self::Nv12 => width * height + chroma,
            Self::P010 => 2 * (width * height + chroma),
            Self::Rgba | Self::Bgra => 4 * width * height,
        }
    }
}
