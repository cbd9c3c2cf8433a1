//! H.265 (RFC 7798): single NAL units, aggregation packets and fragmentation units, without DONL: one stream in decoding order.

use super::nal::Syntax;

const AGGREGATE: u8 = 48;
const FRAGMENT: u8 = 49;
const DELIMITER: u8 = 35;
/// Of video, sequence, picture.
const PARAMETERS: [u8; 3] = [32, 33, 34];

pub(super) struct H265;

impl Syntax for H265 {
    const HEADER: usize = 2;

    fn is_left_out(nal: &[u8]) -> bool {
        kind(nal) == DELIMITER
    }

    fn aggregate(nals: &[&[u8]]) -> Vec<u8> {
        // The lowest layer and temporal layer of those in it (RFC 7798, section 4.4.2).
        let fields = |nal: &&[u8]| (u16::from(nal[0]) << 8 | u16::from(nal[1])) & 0x1ff;
        let layer = nals.iter().map(|nal| fields(nal) >> 3).min().unwrap_or(0);
        let temporal = nals.iter().map(|nal| fields(nal) & 7).min().unwrap_or(1);
        let broken = nals.iter().fold(0, |bits, nal| bits | (nal[0] & 0x80));
        let header = (u16::from(AGGREGATE) << 9) | (layer << 3) | temporal;
        vec![broken | (header >> 8) as u8, header as u8]
    }

    fn fragment(nal: &[u8], first: bool, last: bool) -> Vec<u8> {
        let marks = (u8::from(first) << 7) | (u8::from(last) << 6);
        vec![(nal[0] & 0x81) | (FRAGMENT << 1), nal[1], marks | kind(nal)]
    }
}

fn kind(nal: &[u8]) -> u8 {
    (nal[0] >> 1) & 0x3f
}

/// Whether a decoder has to know it before the first picture.
pub(super) fn is_parameters(nal: &[u8]) -> bool {
    PARAMETERS.contains(&kind(nal))
}

/// The names in `fmtp` of the parameter sets, each with those of its kind.
pub(super) fn sorted(parameters: &[Vec<u8>]) -> [(&'static str, Vec<&[u8]>); 3] {
    let names = ["sprop-vps", "sprop-sps", "sprop-pps"];
    std::array::from_fn(|place| {
        let its = parameters.iter().filter(|nal| kind(nal) == PARAMETERS[place]);
        (names[place], its.map(Vec::as_slice).collect())
    })
}
