//! What the samples go to.

use proto::announce::Codec;
use proto::units::Mono;

use super::CHUNK;
use super::decode::Decoder;
use crate::conceal::Concealer;
use crate::drift::Servo;
use crate::map::ChannelMap;
use crate::resample::Steered;

/// What an output is to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Frames a second of the stream.
    pub rate: u32,
    /// Channels of the stream.
    pub channels: u16,
    /// How it is coded.
    pub codec: Codec,
}

/// What the samples go to. Built by a thread that may allocate.
pub struct Output {
    pub(super) channels: u16,
    pub(super) rate: u32,
    /// Rate of the streams that it plays.
    pub(super) stream_rate: u32,
    pub(super) decoder: Decoder,
    pub(super) device: Option<DeviceOutput>,
}

/// What only a device needs: it has a clock of its own.
pub(super) struct DeviceOutput {
    pub(super) concealer: Concealer,
    pub(super) steering: Option<(Steered, Servo)>,
    pub(super) last: Option<Mono>,
}

impl Output {
    /// A file, a pipe or nothing: follows the stream's clock and gets exactly what came.
    pub fn stream_clocked(channels: u16, rate: u32) -> Self {
        Self { channels, rate, stream_rate: rate, decoder: Decoder::pcm(), device: None }
    }

    /// A device for streams of its own rate. With `steered`, a resampler keeps it on the stream's time.
    pub fn device(channels: u16, rate: u32, steered: bool) -> Self {
        let device = DeviceOutput {
            concealer: Concealer::new(usize::from(channels), rate),
            steering: steered.then(|| (Steered::new(channels, CHUNK, rate, rate), Servo::default())),
            last: None,
        };
        Self { channels, rate, stream_rate: rate, decoder: Decoder::pcm(), device: Some(device) }
    }

    /// The same output, which plays what a map makes of the stream's channels.
    pub fn mapped(mut self, map: Option<ChannelMap>) -> Self {
        self.decoder.play(map);
        self
    }

    /// The same output for a stream of this kind; a device of another rate gets it resampled.
    ///
    /// # Errors
    /// Where there is no memory for a decoder, or a file would have to be resampled.
    pub fn playing(mut self, incoming: Incoming) -> Result<Self, &'static str> {
        let map = self.decoder.map().cloned();
        self.decoder = Decoder::new(incoming.codec, incoming.channels)?;
        self.decoder.play(map);
        self.stream_rate = incoming.rate;
        if incoming.rate != self.rate {
            let device = self.device.as_mut().ok_or("a file has the rate of its stream")?;
            let resampler = Steered::new(self.channels, CHUNK, incoming.rate, self.rate);
            device.steering = Some((resampler, Servo::default()));
            device.concealer = Concealer::new(usize::from(self.channels), incoming.rate);
        }
        Ok(self)
    }

    /// Channels of an output frame.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Frames a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }
}

impl DeviceOutput {
    /// Fills `out` while there is nothing that can be played, without a click at the end of what was.
    pub(super) fn fall_silent(&mut self, out: &mut [f32]) {
        let concealer = &mut self.concealer;
        match &mut self.steering {
            Some((resampler, _)) => resampler.process(out, |input| concealer.conceal(input)),
            None => concealer.conceal(out),
        }
    }
}
