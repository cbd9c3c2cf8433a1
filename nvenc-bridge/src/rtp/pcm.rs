//! 16-bit samples in network order (RFC 3551, section 4.5.11), cut between frames.

use super::MAX_PAYLOAD;
use super::unit::Unit;

/// Adds the packets of a block of whole frames; none where one of them is longer than a packet.
pub(super) fn pack(samples: &[u8], channels: u16, out: &mut Unit) {
    let frame = 2 * usize::from(channels.max(1));
    let most = MAX_PAYLOAD / frame;
    let frames = samples.len() / frame;
    if frames == 0 || most == 0 {
        return;
    }
    let each = frames.div_ceil(frames.div_ceil(most));
    for part in samples[..frames * frame].chunks(each * frame) {
        out.push(&[part]);
        out.advance((part.len() / frame) as u32);
    }
}
