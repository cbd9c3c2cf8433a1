//! AAC-LC by libfdk-aac, as raw access units.

use fdk_aac::enc::{AudioObjectType, BitRate, ChannelMode, Encoder, EncoderError, EncoderParams, Transport};

use crate::encode::Error;

/// Bits of the longest access unit, for each channel (ISO/IEC 14496-3, 4.5.3).
const MOST: u32 = 6144;
/// Frames of sound in each.
pub(crate) const FRAMES: u32 = 1024;

/// An encoder of one track.
pub(crate) struct Fdk {
    inner: Encoder,
    /// Frames by which a decoder's output lags behind the input.
    pub(crate) delay: u64,
    /// The `AudioSpecificConfig`.
    pub(crate) config: Vec<u8>,
    /// Bits a second: what was asked for, or the most that fits.
    pub(crate) bitrate: u32,
    samples: Vec<i16>,
    room: Vec<u8>,
}

impl Fdk {
    /// An encoder of 1 or 2 channels.
    ///
    /// # Errors
    /// The library refuses.
    pub(crate) fn new(rate: u32, channels: u16, bitrate: u32) -> Result<Self, Error> {
        let refused = |error: EncoderError| Error::Unavailable(format!("the AAC encoder refuses: {error}"));
        let bitrate = bitrate.min(MOST * u32::from(channels) * rate / FRAMES);
        let params = EncoderParams {
            bit_rate: BitRate::Cbr(bitrate),
            sample_rate: rate,
            transport: Transport::Raw,
            channels: if channels == 1 { ChannelMode::Mono } else { ChannelMode::Stereo },
            audio_object_type: AudioObjectType::Mpeg4LowComplexity,
        };
        let inner = Encoder::new(params).map_err(refused)?;
        let info = inner.info().map_err(refused)?;
        Ok(Self {
            inner,
            delay: u64::from(info.nDelay),
            config: info.confBuf.iter().copied().take(info.confSize as usize).collect(),
            bitrate,
            samples: Vec::new(),
            room: vec![0; info.maxOutBufBytes as usize],
        })
    }

    /// Takes [`FRAMES`] interleaved frames; hands out an access unit, but for the first few calls.
    ///
    /// # Errors
    /// The library has failed.
    pub(crate) fn encode(&mut self, samples: &[f32]) -> Result<Option<Vec<u8>>, Error> {
        let failed = |error: EncoderError| Error::Failed(format!("the AAC encoder failed: {error}"));
        self.samples.clear();
        self.samples.extend(samples.iter().map(|sample| proto::pcm::quantise(*sample)));
        let done = self.inner.encode(&self.samples, &mut self.room).map_err(failed)?;
        Ok((done.output_size > 0).then(|| self.room[..done.output_size].to_vec()))
    }
}
