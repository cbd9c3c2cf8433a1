//! Numbers in seven-bit groups, the lowest first (`leb128()` of the AV1 specification, section 4.10.5).

/// Reads one of at most 8 octets. Its value, and how many octets it has.
pub(super) fn read(octets: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (place, octet) in octets.iter().take(8).enumerate() {
        value |= u64::from(octet & 0x7f) << (7 * place);
        if octet & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, place + 1));
        }
    }
    None
}

/// The shortest form of a number.
pub(super) fn write(mut value: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        octets.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return octets;
        }
    }
}

/// Octets of the shortest form.
pub(super) fn length(value: usize) -> usize {
    (usize::BITS - value.leading_zeros()).div_ceil(7).max(1) as usize
}
