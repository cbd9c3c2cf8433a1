//! What H.264 and H.265 have in common: NAL units behind start codes, several small ones to a packet, large ones in fragments.

use super::MAX_PAYLOAD;
use super::unit::Unit;

/// In what the payload formats of the two differ.
pub(super) trait Syntax {
    /// Octets of a NAL unit's header.
    const HEADER: usize;

    /// Whether a NAL unit is of no use to a receiver of packets.
    fn is_left_out(nal: &[u8]) -> bool;

    /// The header of a packet with several NAL units.
    fn aggregate(nals: &[&[u8]]) -> Vec<u8>;

    /// The headers of a packet with a part of a NAL unit.
    fn fragment(nal: &[u8], first: bool, last: bool) -> Vec<u8>;
}

/// The NAL units of a stream with start codes (Annex B of both), without the zeros behind them.
pub(super) fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let begin = rest?;
        let next = after_start_code(begin);
        let end = next.map_or(begin.len(), |next| begin.len() - next.len() - 3);
        rest = next;
        let zeros = begin[..end].iter().rev().take_while(|octet| **octet == 0).count();
        Some(&begin[..end - zeros])
    })
    .filter(|nal| !nal.is_empty())
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    let mut place = 2;
    loop {
        match *stream.get(place)? {
            0 => place += 1,
            1 if stream[place - 2..place] == [0, 0] => return Some(&stream[place + 1..]),
            // Neither this octet nor the two behind it end a start code that begins before it.
            _ => place += 3,
        }
    }
}

/// Octets of the length before each NAL unit of an aggregate.
const LENGTH: usize = 2;

/// Adds the packets of an access unit.
pub(super) fn pack<S: Syntax>(stream: &[u8], out: &mut Unit) {
    let mut small: Vec<&[u8]> = Vec::new();
    let mut length = S::HEADER;
    for nal in units(stream).filter(|nal| nal.len() > S::HEADER && !S::is_left_out(nal)) {
        let longer = length + LENGTH + nal.len();
        if longer > MAX_PAYLOAD {
            together::<S>(&small, out);
            small.clear();
            length = S::HEADER;
        }
        if nal.len() > MAX_PAYLOAD {
            in_fragments::<S>(nal, out);
        } else {
            length += LENGTH + nal.len();
            small.push(nal);
        }
    }
    together::<S>(&small, out);
    out.mark_last();
}

fn together<S: Syntax>(nals: &[&[u8]], out: &mut Unit) {
    match nals {
        [] => {}
        [alone] => out.push(&[alone]),
        several => {
            let header = S::aggregate(several);
            let lengths: Vec<_> = several.iter().map(|nal| (nal.len() as u16).to_be_bytes()).collect();
            let mut parts = vec![&header[..]];
            parts.extend(several.iter().zip(&lengths).flat_map(|(nal, length)| [&length[..], *nal]));
            out.push(&parts);
        }
    }
}

fn in_fragments<S: Syntax>(nal: &[u8], out: &mut Unit) {
    // A fragment has the header of the NAL unit in another form, and an octet more.
    let body = &nal[S::HEADER..];
    let room = MAX_PAYLOAD - S::HEADER - 1;
    let each = body.len().div_ceil(body.len().div_ceil(room));
    let count = body.len().div_ceil(each);
    for (place, part) in body.chunks(each).enumerate() {
        out.push(&[&S::fragment(nal, place == 0, place + 1 == count), part]);
    }
}
