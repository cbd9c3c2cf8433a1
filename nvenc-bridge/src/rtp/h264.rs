//! H.264 (RFC 6184), packetization mode 1: single NAL units, STAP-A and FU-A.

use super::nal::Syntax;

const AGGREGATE: u8 = 24;
const FRAGMENT: u8 = 28;
const DELIMITER: u8 = 9;
const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;

pub(super) struct H264;

impl Syntax for H264 {
    const HEADER: usize = 1;

    fn is_left_out(nal: &[u8]) -> bool {
        kind(nal) == DELIMITER
    }

    fn aggregate(nals: &[&[u8]]) -> Vec<u8> {
        let importance = nals.iter().map(|nal| nal[0] & 0x60).max().unwrap_or(0);
        let broken = nals.iter().fold(0, |bits, nal| bits | (nal[0] & 0x80));
        vec![broken | importance | AGGREGATE]
    }

    fn fragment(nal: &[u8], first: bool, last: bool) -> Vec<u8> {
        vec![(nal[0] & 0xe0) | FRAGMENT, (u8::from(first) << 7) | (u8::from(last) << 6) | kind(nal)]
    }
}

fn kind(nal: &[u8]) -> u8 {
    nal[0] & 0x1f
}

/// Whether a decoder has to know it before the first picture.
pub(super) fn is_parameters(nal: &[u8]) -> bool {
    matches!(kind(nal), SEQUENCE_PARAMETERS | PICTURE_PARAMETERS)
}

/// `profile-level-id`: three octets of the sequence parameter set.
pub(super) fn profile(parameters: &[Vec<u8>]) -> Option<&[u8]> {
    parameters.iter().find(|nal| kind(nal) == SEQUENCE_PARAMETERS)?.get(1..4)
}
