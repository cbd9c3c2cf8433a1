//! AAC, mode AAC-hbr (RFC 3640, section 3.3.6): one access unit to a packet, or its fragments.

use super::MAX_PAYLOAD;
use super::unit::Unit;

/// Octets of the length of the headers, and of the one header: a size of 13 bits and an index of 3.
const HEADER: usize = 4;
/// What the 13 bits can say.
const LONGEST: usize = (1 << 13) - 1;

/// Adds the packets of an access unit; none where it is longer than the format can say.
pub(super) fn pack(access: &[u8], out: &mut Unit) {
    if access.len() > LONGEST {
        return;
    }
    let size = ((access.len() as u16) << 3).to_be_bytes();
    for part in access.chunks(MAX_PAYLOAD - HEADER) {
        // Fragments carry the size of the whole (section 3.2.3.2).
        out.push(&[&16u16.to_be_bytes(), &size, part]);
    }
    out.mark_last();
}
