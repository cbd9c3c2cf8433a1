//! Pictures in the form that encoders take: 4:2:0, BT.709, limited range.
//!
//! Colours are weighed as ITU-R BT.709 has it, in fixed point; a chroma sample is the mean of the four pixels that it
//! stands for. What is 4:2:0 already keeps its values; words of 10 bits are rounded to 8.

use crate::picture::{Format, Picture, Size};

/// Parts of 65 536 of red, green and blue in luma, and in both differences of colour, for 219 and 224 steps of 255.
const LUMA: [i32; 3] = [11_966, 40_254, 4_064];
const BLUE: [i32; 3] = [-6_596, -22_189, 28_785];
const RED: [i32; 3] = [28_785, -26_145, -2_640];

/// Why a picture is not converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its octets are not those of its format and size, which is a fault of the source.
    #[error("a picture has {found} octets instead of {expected}")]
    Octets {
        /// Those that came.
        found: usize,
        /// Those of its format and size.
        expected: usize,
    },
    /// It cannot be cut to the size: that one is larger, or odd.
    #[error("a picture of {}x{} is not to be had from one of {}x{}", .to.width, .to.height, .from.width, .from.height)]
    Size {
        /// The picture's.
        from: Size,
        /// What was asked for.
        to: Size,
    },
}

/// Where chroma samples go: two planes, or pairs in one.
#[derive(Clone, Copy)]
enum Chroma {
    Planes,
    Pairs,
}

/// The picture as [`Format::I420`], with its right and lower edge cut off to an even `size` where it is larger. What needs no
/// conversion is not copied; else it stands in `scratch`, which is reused from picture to picture.
///
/// # Errors
/// Where the picture is not what it says, or smaller.
pub fn i420<'a>(picture: &'a Picture, size: Size, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
    convert(picture, size, Format::I420, Chroma::Planes, scratch)
}

/// The same as [`Format::Nv12`].
///
/// # Errors
/// As [`i420`].
pub fn nv12<'a>(picture: &'a Picture, size: Size, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
    convert(picture, size, Format::Nv12, Chroma::Pairs, scratch)
}

fn convert<'a>(
    picture: &'a Picture,
    size: Size,
    format: Format,
    chroma: Chroma,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], Error> {
    let (from, data) = (picture.size, picture.data.as_slice());
    let expected = picture.format.octets(from);
    if data.len() != expected {
        return Err(Error::Octets { found: data.len(), expected });
    }
    let odd = !size.width.is_multiple_of(2)
        || !size.height.is_multiple_of(2)
        || size.width == 0
        || size.height == 0;
    if odd || size.width > from.width || size.height > from.height {
        return Err(Error::Size { from, to: size });
    }
    if picture.format == format && from == size {
        return Ok(data);
    }
    scratch.resize(format.octets(size), 0);
    let (width, height) = (size.width as usize, size.height as usize);
    let stride = from.width as usize;
    let (luma, rest) = scratch.split_at_mut(width * height);
    let mut out = Out { luma, rest, width, height, chroma };
    let planes = stride * from.height as usize;
    match picture.format {
        Format::I420 => {
            let pairs = stride.div_ceil(2);
            let (blue, red) = data[planes..].split_at(pairs * from.height.div_ceil(2) as usize);
            out.copy(&data[..planes], stride, |octet| *octet);
            out.chroma(|row, x| (blue[row * pairs + x], red[row * pairs + x]));
        }
        Format::Nv12 => {
            let row_octets = 2 * stride.div_ceil(2);
            let pairs = &data[planes..];
            out.copy(&data[..planes], stride, |octet| *octet);
            out.chroma(|row, x| (pairs[row * row_octets + 2 * x], pairs[row * row_octets + 2 * x + 1]));
        }
        Format::P010 => {
            let (words, _) = data.as_chunks::<2>();
            let row_words = 2 * stride.div_ceil(2);
            let pairs = &words[planes..];
            out.copy(&words[..planes], stride, eight);
            out.chroma(|row, x| {
                (eight(&pairs[row * row_words + 2 * x]), eight(&pairs[row * row_words + 2 * x + 1]))
            });
        }
        Format::Rgba => out.colours::<0, 2>(data.as_chunks().0, stride),
        Format::Bgra => out.colours::<2, 0>(data.as_chunks().0, stride),
    }
    Ok(scratch)
}

/// The upper 10 bits of a word, rounded to 8.
fn eight(word: &[u8; 2]) -> u8 {
    ((u32::from(u16::from_le_bytes(*word)) + 0x80) >> 8).min(255) as u8
}

/// A picture of 4:2:0 that is being written.
struct Out<'a> {
    luma: &'a mut [u8],
    rest: &'a mut [u8],
    width: usize,
    height: usize,
    chroma: Chroma,
}

impl Out<'_> {
    fn copy<T>(&mut self, plane: &[T], stride: usize, sample: impl Fn(&T) -> u8) {
        for (out, row) in self.luma.chunks_exact_mut(self.width).zip(plane.chunks_exact(stride)) {
            out.iter_mut().zip(row).for_each(|(out, from)| *out = sample(from));
        }
    }

    /// Writes both differences of colour of every four pixels, by row and column of these.
    fn chroma(&mut self, sample: impl Fn(usize, usize) -> (u8, u8)) {
        let half = self.width / 2;
        let (blue, red) = self.rest.split_at_mut(half * (self.height / 2));
        match self.chroma {
            Chroma::Planes => {
                let rows = blue.chunks_exact_mut(half).zip(red.chunks_exact_mut(half));
                for (row, (blue, red)) in rows.enumerate() {
                    for (x, (blue, red)) in blue.iter_mut().zip(red).enumerate() {
                        (*blue, *red) = sample(row, x);
                    }
                }
            }
            Chroma::Pairs => {
                for (row, pairs) in self.rest.chunks_exact_mut(2 * half).enumerate() {
                    for (x, pair) in pairs.chunks_exact_mut(2).enumerate() {
                        (pair[0], pair[1]) = sample(row, x);
                    }
                }
            }
        }
    }

    /// Pixels of four octets, red and blue at these places.
    fn colours<const R: usize, const B: usize>(&mut self, pixels: &[[u8; 4]], stride: usize) {
        for (out, row) in self.luma.chunks_exact_mut(self.width).zip(pixels.chunks_exact(stride)) {
            for (out, pixel) in out.iter_mut().zip(row) {
                *out = (weigh(LUMA, [i32::from(pixel[R]), i32::from(pixel[1]), i32::from(pixel[B])], 16) + 16)
                    as u8;
            }
        }
        self.chroma(|row, x| {
            let at = 2 * row * stride + 2 * x;
            let four = [&pixels[at], &pixels[at + 1], &pixels[at + stride], &pixels[at + stride + 1]];
            let sum = |place: usize| four.iter().map(|pixel| i32::from(pixel[place])).sum();
            let sums = [sum(R), sum(1), sum(B)];
            ((weigh(BLUE, sums, 18) + 128) as u8, (weigh(RED, sums, 18) + 128) as u8)
        });
    }
}

/// The weighed sum without its lower `bits`, rounded.
fn weigh(weights: [i32; 3], colours: [i32; 3], bits: u32) -> i32 {
    let sum = weights[0] * colours[0] + weights[1] * colours[1] + weights[2] * colours[2];
    (sum + (1 << (bits - 1))) >> bits
}

#[cfg(test)]
mod tests;
