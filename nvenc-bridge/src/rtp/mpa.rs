//! MPEG audio (RFC 2250, section 3.5): one frame to a packet.

use super::MAX_PAYLOAD;
use super::unit::Unit;

const HEADER: usize = 4;

/// Adds the packets of a frame: one, but for the longest frames.
pub(super) fn pack(frame: &[u8], out: &mut Unit) {
    let room = MAX_PAYLOAD - HEADER;
    for (place, part) in frame.chunks(room).enumerate() {
        let offset = (place * room) as u16;
        out.push(&[&[0, 0], &offset.to_be_bytes(), part]);
    }
}
