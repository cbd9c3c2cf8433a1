//! Pictures, row by row, into buffers whose rows are longer.

use crate::picture::{Format, Size};

/// Rows of the pitch that the buffer of a picture has: luma, and chroma at half the height, whose planes lie two to a row in I420.
pub(super) fn rows(height: u32) -> usize {
    height as usize + (height as usize).div_ceil(2)
}

/// Writes I420, NV12 or P010 into `buffer`.
pub(super) fn copy(data: &[u8], format: Format, size: Size, buffer: &mut [u8], pitch: usize) {
    let (width, height) = (size.width as usize, size.height as usize);
    let half_width = width.div_ceil(2);
    let (luma, chroma) = match format {
        Format::P010 => (2 * width, 4 * half_width),
        _ => (width, 2 * half_width),
    };
    let (from_luma, from_chroma) = data.split_at(luma * height);
    let (to_luma, to_chroma) = buffer.split_at_mut(pitch * height);
    plane(from_luma, luma, to_luma, pitch);
    if format == Format::I420 {
        // Each plane in half a pitch.
        plane(from_chroma, half_width, to_chroma, pitch / 2);
    } else {
        plane(from_chroma, chroma, to_chroma, pitch);
    }
}

fn plane(from: &[u8], row: usize, to: &mut [u8], pitch: usize) {
    for (from, to) in from.chunks_exact(row).zip(to.chunks_exact_mut(pitch)) {
        to[..row].copy_from_slice(from);
    }
}
