//! AV1 (RTP Payload Format For AV1, version 1.0 of the Alliance for Open Media).
//!
//! Open bitstream units stand in packets without size fields of their own, each element behind its length (`W` is 0).

use super::unit::Unit;
use super::{MAX_PAYLOAD, leb128};

const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// Octets of the aggregation header.
const HEADER: usize = 1;
/// Flags of the aggregation header: the first element continues one, the last is continued, a coded video sequence begins.
const CONTINUES: u8 = 0x80;
const CONTINUED: u8 = 0x40;
const BEGINS: u8 = 0x08;

/// Adds the packets of a temporal unit.
pub(super) fn pack(stream: &[u8], out: &mut Unit) {
    let elements: Vec<_> = units(stream).collect();
    let total = |room: usize| {
        let framed = |element: &Vec<u8>| element.len() + leb128::length(element.len().min(room));
        elements.iter().map(framed).sum::<usize>()
    };
    let room = MAX_PAYLOAD - HEADER;
    // Each element that is cut has a further length in each packet that it reaches into.
    let count = total(room).div_ceil(room - 2).max(1);
    let each = (total(room).div_ceil(count) + 2).min(room);
    let mut packet = Packet { first: out.key, continues: false, body: Vec::with_capacity(each) };
    for element in &elements {
        let mut rest = &element[..];
        while !rest.is_empty() {
            let free = each - packet.body.len();
            let length = rest.len().min(free.saturating_sub(leb128::length(free)));
            if length == 0 {
                packet.leave(rest.len() < element.len(), out);
                continue;
            }
            packet.body.extend_from_slice(&leb128::write(length));
            packet.body.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
    }
    packet.leave(false, out);
    out.mark_last();
}

struct Packet {
    first: bool,
    continues: bool,
    body: Vec<u8>,
}

impl Packet {
    /// Sends what is in it on its way; `continued` in the next packet.
    fn leave(&mut self, continued: bool, out: &mut Unit) {
        if self.body.is_empty() {
            return;
        }
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let header = flag(self.continues, CONTINUES) | flag(continued, CONTINUED) | flag(self.first, BEGINS);
        out.push(&[&[header], &self.body]);
        *self = Self { first: false, continues: continued, body: std::mem::take(&mut self.body) };
        self.body.clear();
    }
}

/// The units that go into packets, without sizes. Ends at the first that is not whole.
fn units(stream: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let header = if first & 0x04 != 0 { 2 } else { 1 };
        let (length, sized) = if first & 0x02 != 0 {
            leb128::read(rest.get(header..)?)?
        } else {
            (rest.len().checked_sub(header)?, 0)
        };
        let start = header + sized;
        let end = start.checked_add(length)?;
        let mut unit = vec![first & !0x02];
        unit.extend_from_slice(rest.get(1..header)?);
        unit.extend_from_slice(rest.get(start..end)?);
        rest = &rest[end..];
        Some(unit)
    })
    .filter(|unit| !matches!((unit[0] >> 3) & 0x0f, TEMPORAL_DELIMITER | TILE_LIST | PADDING))
}
