//! Pictures in the form that encoders take: 4:2:0, BT.709, limited range.
//!
//! Colours are weighed as ITU-R BT.709 has it, in fixed point; a chroma sample is the mean of the four pixels that it
//! stands for. What is 4:2:0 already keeps its values; words of 10 bits are rounded to 8.

use crate::picture::{Format, Picture, Size};

/// Parts of 32 768 of red, green and blue in luma, and in both differences of colour, for 219 and 224 steps of 255. They fit
/// into 16 bits with a sign, of which processors multiply many at once.
const LUMA: [i32; 3] = [5_983, 20_127, 2_032];
const BLUE: [i32; 3] = [-3_298, -11_094, 14_392];
const RED: [i32; 3] = [14_392, -13_073, -1_319];
const BITS: u32 = 15;

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
            let columns = stride.div_ceil(2);
            let (blue, red) = data[planes..].split_at(columns * from.height.div_ceil(2) as usize);
            out.copy(&data[..planes], stride, |octet| *octet);
            let (blue, red) = (blue.chunks_exact(columns), red.chunks_exact(columns));
            out.chroma(blue.zip(red).map(|(blue, red)| blue.iter().copied().zip(red.iter().copied())));
        }
        Format::Nv12 => {
            let rows = data[planes..].chunks_exact(2 * stride.div_ceil(2));
            out.copy(&data[..planes], stride, |octet| *octet);
            out.chroma(rows.map(|row| row.as_chunks::<2>().0.iter().map(|pair| (pair[0], pair[1]))));
        }
        Format::P010 => {
            let (words, _) = data.as_chunks::<2>();
            let rows = words[planes..].chunks_exact(2 * stride.div_ceil(2));
            out.copy(&words[..planes], stride, eight);
            let pair = |pair: &[[u8; 2]; 2]| (eight(&pair[0]), eight(&pair[1]));
            out.chroma(rows.map(|row| row.as_chunks::<2>().0.iter().map(pair)));
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

    /// Writes both differences of colour of every four pixels, row after row.
    fn chroma(&mut self, rows: impl Iterator<Item = impl Iterator<Item = (u8, u8)>>) {
        let half = self.width / 2;
        match self.chroma {
            Chroma::Planes => {
                let (blue, red) = self.rest.split_at_mut(half * (self.height / 2));
                let planes = blue.chunks_exact_mut(half).zip(red.chunks_exact_mut(half));
                for ((blue, red), row) in planes.zip(rows) {
                    for ((blue, red), pair) in blue.iter_mut().zip(red).zip(row) {
                        (*blue, *red) = pair;
                    }
                }
            }
            Chroma::Pairs => {
                for (pairs, row) in self.rest.chunks_exact_mut(2 * half).zip(rows) {
                    for (out, pair) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(row) {
                        *out = pair.into();
                    }
                }
            }
        }
    }

    /// Pixels of four octets, red at this place and blue at that. They are taken as words, which processors split many at once.
    fn colours<const R: u32, const B: u32>(&mut self, pixels: &[[u8; 4]], stride: usize) {
        let word = |pixel: &[u8; 4]| u32::from_le_bytes(*pixel);
        for (out, row) in self.luma.chunks_exact_mut(self.width).zip(pixels.chunks_exact(stride)) {
            for (out, pixel) in out.iter_mut().zip(row) {
                let colours = [R, 1, B].map(|place| ((word(pixel) >> (8 * place)) & 0xff) as i32);
                *out = (weigh(LUMA, colours, BITS) + 16) as u8;
            }
        }
        let mean = |upper: &[[u8; 4]; 2], lower: &[[u8; 4]; 2]| {
            let four = [word(&upper[0]), word(&upper[1]), word(&lower[0]), word(&lower[1])];
            // Red and blue stand 16 bits apart, which four of 8 bits do not fill.
            let outer: u32 = four.map(|word| word & 0x00ff_00ff).iter().sum();
            let green: u32 = four.map(|word| (word >> 8) & 0xff).iter().sum();
            let sums =
                [(outer >> (8 * R)) & 0xffff, green, (outer >> (8 * B)) & 0xffff].map(|sum| sum as i32);
            ((weigh(BLUE, sums, BITS + 2) + 128) as u8, (weigh(RED, sums, BITS + 2) + 128) as u8)
        };
        self.chroma(pixels.chunks_exact(2 * stride).map(|rows| {
            let (upper, lower) = rows.split_at(stride);
            let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
            pairs.map(|(upper, lower)| mean(upper, lower))
        }));
    }
}

/// The weighed sum without its lower `bits`, rounded.
fn weigh(weights: [i32; 3], colours: [i32; 3], bits: u32) -> i32 {
    let sum = weights[0] * colours[0] + weights[1] * colours[1] + weights[2] * colours[2];
    (sum + (1 << (bits - 1))) >> bits
}

#[cfg(test)]
mod tests;
