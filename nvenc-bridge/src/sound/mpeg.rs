//! Frames of MPEG-1 audio layer III: how long each is (ISO/IEC 11172-3, 2.4.1.3).

/// Frames of sound in each.
pub(crate) const FRAMES: u32 = 1152;
/// Octets of a header.
const HEADER: usize = 4;
/// kbit/s by the header's index; 0 is a rate of the encoder's own, which is not used here, and 15 is none.
const RATES: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];

/// Octets of the frame that begins here; `None` where none of layer III does.
pub(crate) fn length(octets: &[u8]) -> Option<usize> {
    let &[first, second, third, _] = octets.first_chunk::<HEADER>()?;
    // Eleven bits of synchronisation, MPEG-1, layer III; a checksum or none.
    if first != 0xff || second & 0xfe != 0xfa {
        return None;
    }
    let kilobits = *RATES.get(usize::from(third >> 4))?;
    let rate = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
    let padding = usize::from(third >> 1 & 1);
    (kilobits > 0).then(|| FRAMES as usize / 8 * kilobits * 1000 / rate + padding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_are_as_long_as_the_tables_of_the_standard_say() {
        for (header, expected) in [
            ([0xff, 0xfb, 0x90, 0x00], Some(417)),
            ([0xff, 0xfb, 0x92, 0x00], Some(418)),
            ([0xff, 0xfb, 0x94, 0xc0], Some(384)),
            ([0xff, 0xfa, 0xe4, 0x00], Some(960)),
            ([0xff, 0xfb, 0x70, 0x00], Some(313)),
            // No rate, no such rate, layer II, MPEG-2, another start.
            ([0xff, 0xfb, 0x00, 0x00], None),
            ([0xff, 0xfb, 0xf0, 0x00], None),
            ([0xff, 0xfb, 0x9c, 0x00], None),
            ([0xff, 0xfd, 0x90, 0x00], None),
            ([0xff, 0xf3, 0x90, 0x00], None),
            ([0x49, 0x44, 0x33, 0x00], None),
        ] {
            assert_eq!(length(&header), expected, "{header:x?}");
        }
        assert_eq!(length(&[0xff, 0xfb, 0x90]), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(octets: [u8; 4]) {
            prop_assert!(length(&octets).is_none_or(|length| (96..=1441).contains(&length)));
        }
    }
}
