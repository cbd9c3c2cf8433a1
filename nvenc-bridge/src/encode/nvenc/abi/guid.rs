//! Names of codecs, profiles and presets.

/// `GUID`, compared octet for octet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid(u32, u16, u16, [u8; 8]);

impl Guid {
    /// From the notation of registries: 8, 4, 4, 4 and 12 hexadecimal digits as one number.
    const fn new(whole: u128) -> Self {
        Self((whole >> 96) as u32, (whole >> 80) as u16, (whole >> 64) as u16, (whole as u64).to_be_bytes())
    }
}

#[cfg(test)]
impl Guid {
    /// As its octets lie in memory.
    pub(super) fn hexadecimal(&self) -> String {
        let Self(first, second, third, rest) = self;
        let octets = [&first.to_ne_bytes()[..], &second.to_ne_bytes(), &third.to_ne_bytes(), rest];
        octets.concat().iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

/// `NV_ENC_CODEC_*_GUID`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod codec {
    use super::Guid;

    pub const H264: Guid = Guid::new(0x6bc82762_4e63_4ca4_aa85_1e50f321f6bf);
    pub const HEVC: Guid = Guid::new(0x790cdc88_4522_4d7b_9425_bda9975f7603);
    pub const AV1: Guid = Guid::new(0x0a352289_0aa7_4759_862d_5d15cd16d254);
}

/// `NV_ENC_*_PROFILE_*_GUID`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod profile {
    use super::Guid;

    pub const H264_BASELINE: Guid = Guid::new(0x0727bcaa_78c4_4c83_8c2f_ef3dff267c6a);
    pub const H264_MAIN: Guid = Guid::new(0x60b5c1d4_67fe_4790_94d5_c4726d7b6e6d);
    pub const H264_HIGH: Guid = Guid::new(0xe7cbc309_4f7a_4b89_af2a_d537c92be310);
    pub const HEVC_MAIN: Guid = Guid::new(0xb514c39a_b55b_40fa_878f_f1253b4dfdec);
    pub const HEVC_MAIN10: Guid = Guid::new(0xfa4d2b6c_3a5b_411a_8018_0a3f5e3c9be5);
    pub const AV1_MAIN: Guid = Guid::new(0x5f2a39f5_f14e_4f95_9a9e_b76d568fcf97);
}

/// `NV_ENC_PRESET_P*_GUID`: from the fastest to the best.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod preset {
    use super::Guid;

    pub const P1: Guid = Guid::new(0xfc0a8d3e_45f8_4cf8_80c7_298871590ebf);
    pub const P4: Guid = Guid::new(0x90a7b826_df06_4862_b9d2_cd6d73a08681);
    pub const P6: Guid = Guid::new(0x8e75c279_6299_4ab6_8302_0b215a335cf5);
    pub const P7: Guid = Guid::new(0x84848c12_6f71_4c13_931b_53e283f57974);
}
