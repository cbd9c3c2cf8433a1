//! What the samples go to.

use proto::units::Mono;

use super::CHUNK;
use crate::drift::Servo;
use crate::fade::Fader;
use crate::resample::Steered;

/// What the samples go to. Built by a thread that may allocate.
pub struct Output {
    pub(super) channels: u16,
    pub(super) rate: u32,
    pub(super) device: Option<DeviceOutput>,
}

/// What only a device needs: it has a clock of its own.
pub(super) struct DeviceOutput {
    pub(super) fader: Fader,
    pub(super) steering: Option<(Steered, Servo)>,
    pub(super) last: Option<Mono>,
}

impl Output {
    /// A file, a pipe or nothing: follows the stream's clock and gets exactly what came.
    pub fn stream_clocked(channels: u16, rate: u32) -> Self {
        Self { channels, rate, device: None }
    }

    /// A device. With `steered`, a resampler keeps it on the stream's time.
    pub fn device(channels: u16, rate: u32, steered: bool) -> Self {
        let device = DeviceOutput {
            fader: Fader::new(usize::from(channels)),
            steering: steered.then(|| (Steered::new(channels, CHUNK), Servo::default())),
            last: None,
        };
        Self { channels, rate, device: Some(device) }
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
