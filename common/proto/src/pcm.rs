//! Linear PCM payloads: `L16` (RFC 3551, 4.5.11: big-endian), `L24` (RFC 3190, 4: big-endian), headerless PCM
//! (16-bit little-endian, as the audioStreamUDP programs send it) and VBAN (16 and 24 bits, little-endian). Samples are
//! `f32` with full scale at ±1; values of 16 and of 24 bits convert without loss.

use crate::Reject;

/// Octets of one 16-bit sample.
pub const BYTES_PER_SAMPLE: usize = 2;

/// Octets of one 24-bit sample.
pub const BYTES_PER_SAMPLE_24: usize = 3;

/// Order of the two octets of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Network order, `L16`.
    Big,
    /// Headerless PCM, VBAN.
    Little,
}

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sample {
    /// Signed, 16 bits.
    Bits16(ByteOrder),
    /// Signed, 24 bits.
    Bits24(ByteOrder),
}

impl Sample {
    /// Octets of one.
    pub fn octets(self) -> usize {
        match self {
            Self::Bits16(_) => BYTES_PER_SAMPLE,
            Self::Bits24(_) => BYTES_PER_SAMPLE_24,
        }
    }

    /// Whole frames in a payload of interleaved samples.
    ///
    /// # Errors
    /// [`Reject::Length`] where the payload is empty or ends within a frame.
    pub fn frames(self, payload: &[u8], channels: u16) -> Result<usize, Reject> {
        let frame = usize::from(channels) * self.octets();
        match payload.len().checked_rem(frame) {
            Some(0) if !payload.is_empty() => Ok(payload.len() / frame),
            _ => Err(Reject::Length),
        }
    }

    /// Decodes samples from `payload` into `out` until either ends.
    pub fn decode(self, payload: &[u8], out: &mut [f32]) {
        match self {
            Self::Bits16(order) => decode(payload, order, out),
            Self::Bits24(order) => decode_24(payload, order, out),
        }
    }
}

/// Nearest 16-bit value of a sample (of two as near, the even one), saturated at the ends of the range. Not-a-number becomes 0.
#[inline]
pub fn quantise(sample: f32) -> i16 {
    /// 1.5 · 2²³: a sum with it has no bits below one, and a small whole number's bits at its end.
    const WHOLE: f32 = 12_582_912.0;
    // Half the instructions of a conversion, and clients by the hundred have each of their samples go through it.
    let scaled = if sample.is_nan() { 0.0 } else { sample * 32_768.0 };
    (scaled.clamp(-32_768.0, 32_767.0) + WHOLE).to_bits() as i16
}

/// The sample of a 16-bit value: value / 2^15.
pub fn sample(value: i16) -> f32 {
    f32::from(value) / 32_768.0
}

/// Writes one sample as two octets.
#[inline]
pub fn write_sample(value: f32, order: ByteOrder, out: &mut [u8; 2]) {
    let value = quantise(value);
    *out = match order {
        ByteOrder::Big => value.to_be_bytes(),
        ByteOrder::Little => value.to_le_bytes(),
    };
}

/// Nearest 24-bit value of a sample, saturated at the ends of the range. Not-a-number becomes 0.
#[inline]
pub fn quantise_24(sample: f32) -> i32 {
    // Below 2^23, where the range ends, `f32` has room for the half.
    let scaled = sample * 8_388_608.0;
    ((scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32).clamp(-8_388_608, 8_388_607)
}

/// Writes one sample as three octets.
#[inline]
pub fn write_sample_24(value: f32, order: ByteOrder, out: &mut [u8; 3]) {
    let [_, high, middle, low] = quantise_24(value).to_be_bytes();
    *out = match order {
        ByteOrder::Big => [high, middle, low],
        ByteOrder::Little => [low, middle, high],
    };
}

/// Decodes 24-bit samples from `payload` into `out` until either ends.
pub fn decode_24(payload: &[u8], order: ByteOrder, out: &mut [f32]) {
    // The value in the upper 24 bits, so that its sign is the word's.
    let value = |high, middle, low| i32::from_be_bytes([high, middle, low, 0]) as f32 / 2_147_483_648.0;
    let (triples, _) = payload.as_chunks::<3>();
    match order {
        ByteOrder::Big => triples.iter().zip(out).for_each(|([h, m, l], s)| *s = value(*h, *m, *l)),
        ByteOrder::Little => triples.iter().zip(out).for_each(|([l, m, h], s)| *s = value(*h, *m, *l)),
    }
}

/// Decodes samples from `payload` into `out` until either ends.
pub fn decode(payload: &[u8], order: ByteOrder, out: &mut [f32]) {
    let (pairs, _) = payload.as_chunks::<2>();
    match order {
        ByteOrder::Big => pairs.iter().zip(out).for_each(|(b, s)| *s = sample(i16::from_be_bytes(*b))),
        ByteOrder::Little => pairs.iter().zip(out).for_each(|(b, s)| *s = sample(i16::from_le_bytes(*b))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_16_bit_value_survives() {
        for value in i16::MIN..=i16::MAX {
            assert_eq!(quantise(sample(value)), value);
        }
    }

    #[test]
    fn saturates_and_rounds() {
        assert_eq!(quantise(1.0), 32_767);
        assert_eq!(quantise(7.5), 32_767);
        assert_eq!(quantise(-1.0), -32_768);
        assert_eq!(quantise(-9.0), -32_768);
        assert_eq!(quantise(0.6 / 32_768.0), 1);
        assert_eq!(quantise(-0.6 / 32_768.0), -1);
        assert_eq!(quantise(0.4 / 32_768.0), 0);
        assert_eq!(quantise(f32::NAN), 0);
    }

    #[test]
    fn golden_bytes_in_both_orders() {
        let mut out = [0; 2];
        write_sample(sample(0x1234), ByteOrder::Big, &mut out);
        assert_eq!(out, [0x12, 0x34]);
        write_sample(sample(0x1234), ByteOrder::Little, &mut out);
        assert_eq!(out, [0x34, 0x12]);
        let mut samples = [0.0; 2];
        decode(&[0xff, 0xfe, 0x80, 0x00], ByteOrder::Big, &mut samples);
        assert_eq!(samples, [sample(-2), -1.0]);
        decode(&[0xfe, 0xff, 0x00, 0x80], ByteOrder::Little, &mut samples);
        assert_eq!(samples, [sample(-2), -1.0]);
    }

    #[test]
    fn golden_bytes_of_24_bits() {
        for (value, octets) in [
            (0x12_3456, [0x12, 0x34, 0x56]),
            (-1, [0xff; 3]),
            (8_388_607, [0x7f, 0xff, 0xff]),
            (-8_388_608, [0x80, 0, 0]),
        ] {
            let mut out = [0; 3];
            let mut samples = [0.0];
            write_sample_24(value as f32 / 8_388_608.0, ByteOrder::Big, &mut out);
            assert_eq!(out, octets);
            decode_24(&out, ByteOrder::Big, &mut samples);
            assert_eq!(samples, [value as f32 / 8_388_608.0]);
            write_sample_24(samples[0], ByteOrder::Little, &mut out);
            out.reverse();
            assert_eq!(out, octets);
            out.reverse();
            decode_24(&out, ByteOrder::Little, &mut samples);
            assert_eq!(samples, [value as f32 / 8_388_608.0]);
        }
        for (sample, value) in [(1.0, 8_388_607), (-7.0, -8_388_608), (f32::NAN, 0), (0.6 / 8_388_608.0, 1)] {
            assert_eq!(quantise_24(sample), value);
        }
    }

    #[test]
    fn frames_are_whole_or_refused() {
        let [two, three] = [Sample::Bits16, Sample::Bits24].map(|bits| bits(ByteOrder::Big));
        assert_eq!(two.frames(&[0; 12], 3), Ok(2));
        assert_eq!(three.frames(&[0; 18], 3), Ok(2));
        assert_eq!(two.frames(&[0; 13], 3), Err(Reject::Length));
        assert_eq!(three.frames(&[0; 10], 2), Err(Reject::Length));
        assert_eq!(two.frames(&[], 1), Err(Reject::Length));
        assert_eq!(two.frames(&[0; 4], 0), Err(Reject::Length));
    }

    proptest! {
        #[test]
        fn every_24_bit_value_survives(value in -8_388_608i32..=8_388_607) {
            prop_assert_eq!(quantise_24(value as f32 / 8_388_608.0), value);
        }

        #[test]
        fn any_payload_decodes_within_bounds(payload in prop::collection::vec(any::<u8>(), 0..64), room in 0usize..40) {
            let mut out = std::vec![7.0; room];
            decode(&payload, ByteOrder::Big, &mut out);
            for (index, value) in out.iter().enumerate() {
                prop_assert_eq!(*value == 7.0, index >= payload.len() / 2);
            }
        }
    }
}
