//! One encoder for each codec, and what its delay means for the times of what it gives.

use std::collections::VecDeque;
use std::time::Duration;

use audio::opus;
use proto::pcm::{self, ByteOrder};
use proto::units::{self, Mono};

use super::cut::Chunk;
use super::{Codec, EncodedSound, Settings, Track, lame, mpeg};
use crate::encode::{Error, Warning};

/// Chunks that an encoder may keep back: none of these keeps more than three.
const MOST_WAITING: usize = 16;
/// Octets of the longest packet of Opus: 20 ms at more than twice the highest bit rate.
const OPUS_ROOM: usize = 2000;

/// Turns chunks of [`Track::frames`] frames into bits.
pub(crate) struct Encoder {
    kind: Kind,
    track: Track,
    /// Frames by which a decoder's output lags behind the input.
    delay: u64,
    /// Times and positions of chunks that are still inside.
    waiting: VecDeque<(Mono, u64)>,
    units: VecDeque<Vec<u8>>,
    warnings: Vec<Warning>,
}

enum Kind {
    Mp3(lame::Lame),
    #[cfg(feature = "aac")]
    Aac(super::fdk::Fdk),
    Opus(opus::Encoder),
    L16,
}

impl Encoder {
    /// An encoder of a track.
    ///
    /// # Errors
    /// The codec is not to be had, or not so.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let &Settings { codec, rate, channels, .. } = settings;
        let bitrate = settings.bitrate.bits();
        let mut track = Track { codec, rate, channels, frames: 0, bitrate, config: Vec::new() };
        let (kind, delay) = match codec {
            Codec::Mp3 => {
                let lame = lame::Lame::new(rate, channels, bitrate)?;
                track.frames = mpeg::FRAMES;
                let delay = lame.delay;
                (Kind::Mp3(lame), delay)
            }
            Codec::Aac => aac(&mut track)?,
            Codec::Opus => {
                let frame = opus::FrameTime::Ms20;
                let spec = opus::Spec {
                    frame,
                    bitrate: Some(bitrate),
                    application: opus::Application::Audio,
                    ..opus::Spec::default()
                };
                let refused = |error| Error::Unavailable(format!("the Opus encoder refuses: {error}"));
                let encoder = opus::Encoder::new(channels, &spec).map_err(refused)?;
                track.frames = frame.frames().into();
                let delay = encoder.lookahead() as u64;
                (Kind::Opus(encoder), delay)
            }
            Codec::L16 => {
                // 5 ms: two channels then fit a packet.
                track.frames = rate / 200;
                track.bitrate = rate * 16 * u32::from(channels);
                (Kind::L16, 0)
            }
        };
        let warnings = warnings(&track, bitrate);
        let (waiting, units) = (VecDeque::new(), VecDeque::new());
        Ok(Self { kind, track, delay, waiting, units, warnings })
    }

    pub(crate) fn track(&self) -> &Track {
        &self.track
    }

    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Takes one chunk.
    ///
    /// # Errors
    /// The encoder has failed for good.
    pub(crate) fn encode(&mut self, chunk: Chunk<'_>, out: &mut VecDeque<EncodedSound>) -> Result<(), Error> {
        self.waiting.push_back((chunk.at, chunk.position));
        match &mut self.kind {
            Kind::Mp3(lame) => lame.encode(chunk.samples, &mut self.units)?,
            #[cfg(feature = "aac")]
            Kind::Aac(fdk) => self.units.extend(fdk.encode(chunk.samples)?),
            Kind::Opus(encoder) => {
                let mut data = vec![0; OPUS_ROOM];
                let length = encoder.encode(chunk.samples, &mut data);
                let length = length.ok_or_else(|| Error::Failed("the Opus encoder failed".into()))?;
                data.truncate(length);
                self.units.push_back(data);
            }
            Kind::L16 => {
                let mut data = vec![0; chunk.samples.len() * pcm::BYTES_PER_SAMPLE];
                for (sample, octets) in chunk.samples.iter().zip(data.as_chunks_mut().0) {
                    pcm::write_sample(*sample, ByteOrder::Big, octets);
                }
                self.units.push_back(data);
            }
        }
        if self.waiting.len() > MOST_WAITING {
            return Err(Error::Failed("the encoder takes sound and gives nothing".into()));
        }
        let late = units::frames_to_nanos(self.delay as i64, self.track.rate);
        for data in self.units.drain(..) {
            // One comes out for each that goes in.
            let Some((at, position)) = self.waiting.pop_front() else { break };
            let at = Duration::from_nanos(u64::try_from(at.plus(-late).0).unwrap_or(0));
            out.push_back(EncodedSound { data, at, position, frames: self.track.frames });
        }
        Ok(())
    }
}

#[cfg(feature = "aac")]
fn aac(track: &mut Track) -> Result<(Kind, u64), Error> {
    let fdk = super::fdk::Fdk::new(track.rate, track.channels, track.bitrate)?;
    (track.frames, track.bitrate) = (super::fdk::FRAMES, fdk.bitrate);
    track.config.clone_from(&fdk.config);
    let delay = fdk.delay;
    Ok((Kind::Aac(fdk), delay))
}

#[cfg(not(feature = "aac"))]
fn aac(_: &mut Track) -> Result<(Kind, u64), Error> {
    Err(Error::Unavailable(
        "this program was built without AAC (`--features aac` brings it): choose mp3 or opus".into(),
    ))
}

fn warnings(track: &Track, asked: u32) -> Vec<Warning> {
    let kilobits = |bits: u32| bits / 1000;
    let message = match track.codec {
        Codec::L16 => format!("PCM has {} kb/s, whatever is asked for", kilobits(track.bitrate)),
        _ if track.bitrate < asked => format!(
            "{} kb/s are more than one channel can take: {} are sent",
            kilobits(asked),
            kilobits(track.bitrate)
        ),
        _ => return Vec::new(),
    };
    vec![Warning { parameter: "audiobitrate", message }]
}

#[cfg(test)]
mod tests;
