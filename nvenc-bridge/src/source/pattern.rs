//! A moving test pattern with a counter of pictures that can be read back from what a decoder shows.
//!
//! The upper sixteenth holds the counter: 32 cells in a row, white for a one, most significant first, and below them the same
//! with black and white exchanged. Cells are large and of one colour, so that they survive any bit rate at which the picture
//! can be recognised; a counter whose two rows do not contradict each other cell by cell is not taken. Below are colour bars
//! that move by two pixels a picture, and a ramp that moves the other way.

use super::{Pacing, Reader, Shape};
use crate::picture::{Format, Size};

/// Cells in a row.
const CELLS: usize = 32;
/// Colour bars of BT.709, limited range, three quarters of full: white, yellow, cyan, green, magenta, red, blue, black.
const BARS: [[u8; 3]; 8] = [
    [180, 128, 128],
    [168, 44, 136],
    [145, 147, 44],
    [133, 63, 52],
    [63, 193, 204],
    [51, 109, 212],
    [28, 212, 120],
    [16, 128, 128],
];
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// The pattern.
#[derive(Debug)]
pub struct Pattern {
    size: Size,
    number: u64,
}

impl Pattern {
    /// Begins at picture 0.
    pub fn new(size: Size) -> Self {
        Self { size, number: 0 }
    }
}

impl Reader for Pattern {
    fn shape(&self) -> Shape {
        Shape { format: Format::I420, size: self.size, rate: None, aspect: None }
    }

    fn pace(&self) -> Pacing {
        Pacing::Clock
    }

    fn read(&mut self, data: &mut Vec<u8>, skip: u64) -> Result<bool, String> {
        self.number += skip;
        draw(self.size, self.number, data);
        self.number += 1;
        Ok(true)
    }
}

/// Draws the picture of this number as [`Format::I420`].
pub fn draw(size: Size, number: u64, data: &mut Vec<u8>) {
    let (width, height) = (size.width as usize, size.height as usize);
    let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
    data.resize(Format::I420.octets(size), 0);
    let (luma, chroma) = data.split_at_mut(width * height);
    let (blue, red) = chroma.split_at_mut(columns * rows);

    let shift = (2 * number % width as u64) as usize;
    let bar = |x: usize| BARS[(x + shift) % width * BARS.len() / width];
    let counter = cell_height(height) * 2;
    let ramp = height - height / 4;
    for (y, row) in luma.chunks_exact_mut(width).enumerate() {
        if y == counter {
            row.iter_mut().enumerate().for_each(|(x, out)| *out = bar(x)[0]);
        } else if y == ramp {
            let steps = usize::from(WHITE - BLACK);
            let at = |x: usize| (x + width - shift) % width * steps / width;
            row.iter_mut().enumerate().for_each(|(x, out)| *out = BLACK + at(x) as u8);
        }
    }
    repeat_row(luma, width, counter..ramp);
    repeat_row(luma, width, ramp..height);

    for (plane, part) in [(blue, 1), (red, 2)] {
        let (first, last) = (counter.div_ceil(2), ramp / 2);
        plane.fill(128);
        for (x, out) in plane[first * columns..][..columns].iter_mut().enumerate() {
            *out = bar(2 * x)[part];
        }
        repeat_row(plane, columns, first..last);
    }
    write_counter(size, number as u32, luma);
}

/// Copies the first of these rows over the others.
fn repeat_row(plane: &mut [u8], width: usize, rows: std::ops::Range<usize>) {
    for row in rows.clone().skip(1) {
        plane.copy_within(rows.start * width..(rows.start + 1) * width, row * width);
    }
}

/// Rows of a cell: a 32nd of the picture, even, so that chroma below does not touch it.
fn cell_height(height: usize) -> usize {
    ((height / 32) & !1).max(2)
}

fn write_counter(size: Size, number: u32, luma: &mut [u8]) {
    let width = size.width as usize;
    let rows = cell_height(size.height as usize);
    for (y, row) in luma.chunks_exact_mut(width).take(2 * rows).enumerate() {
        let bits = if y < rows { number } else { !number };
        for (x, out) in row.iter_mut().enumerate() {
            *out = if (bits >> (CELLS - 1 - x * CELLS / width)) & 1 == 1 { WHITE } else { BLACK };
        }
    }
}

/// Reads the counter from the luma of a decoded picture of this size, rows without padding. `None` where it is not there.
pub fn read_counter(size: Size, luma: &[u8]) -> Option<u32> {
    let (width, height) = (size.width as usize, size.height as usize);
    let rows = cell_height(height);
    if luma.len() < width * height || width < CELLS || height < 2 * rows {
        return None;
    }
    // The middle of the cell alone: its edges may have run into the next.
    let mean = |cell: usize, row: usize| {
        let (left, right) = (cell * width / CELLS, (cell + 1) * width / CELLS);
        let margin = (right - left) / 4;
        let columns = left + margin..(right - margin).max(left + margin + 1);
        let lines = row * rows + rows / 4..(row + 1) * rows - rows / 4;
        let count = columns.len() * lines.len();
        let sum: u32 = lines
            .map(|y| luma[y * width..][columns.clone()].iter().map(|o| u32::from(*o)).sum::<u32>())
            .sum();
        sum as i32 / count as i32
    };
    (0..CELLS).try_fold(0, |number, cell| match mean(cell, 0) - mean(cell, 1) {
        difference if difference > 48 => Some((number << 1) | 1),
        difference if difference < -48 => Some(number << 1),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_comes_back_from_every_size_and_number() {
        let mut data = Vec::new();
        for (width, height) in [(64, 64), (320, 240), (1280, 720), (1918, 1078), (333, 217)] {
            let size = Size { width, height };
            for number in [0, 1, 2, 0x5555_5555, 0xAAAA_AAAA, u32::MAX, 0x8000_0001] {
                draw(size, u64::from(number), &mut data);
                assert_eq!(read_counter(size, &data), Some(number), "{width}x{height} {number}");
            }
        }
    }

    #[test]
    fn a_picture_without_a_counter_has_none() {
        let size = Size { width: 320, height: 240 };
        assert_eq!(read_counter(size, &[128; 320 * 240]), None);
        assert_eq!(read_counter(size, &[0; 10]), None);
        let mut data = Vec::new();
        draw(size, 7, &mut data);
        data[..6 * 320].fill(BLACK);
        assert_eq!(read_counter(size, &data), None);
    }

    #[test]
    fn every_picture_differs_from_the_one_before_below_the_counter_too() {
        let size = Size { width: 320, height: 240 };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        draw(size, 41, &mut one);
        draw(size, 42, &mut two);
        let half = 320 * 120..320 * 121;
        assert_ne!(one[half.clone()], two[half]);
    }
}
