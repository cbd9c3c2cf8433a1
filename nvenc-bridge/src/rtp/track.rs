//! The packets of a track, one access unit after the other.

use std::time::Duration;

use proto::rtp::Header;
use proto::units::{RtpTime, Sequence};

use super::format::{Format, Parameters};
use super::h264::H264;
use super::h265::H265;
use super::unit::Unit;
use super::{aac, av1, mpa, nal, pcm};
use crate::encode::Codec;

/// What an encoder gives at a time.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// As [`Format`] says; pictures as in [`crate::encode::EncodedPicture::data`].
    pub data: &'a [u8],
    /// Whether decoding can start here; always for sound.
    pub key: bool,
    /// When it was captured, or its first frame was, on the clock of [`os::clock`].
    pub at: Duration,
    /// Frames of sound in it, at [`Format::rate`]; of no meaning for pictures.
    pub frames: u32,
}

/// Makes the packets of a track.
#[derive(Debug)]
pub struct Track {
    format: Format,
    ssrc: u32,
    sequence: Sequence,
    /// RTP time of the clock's origin.
    origin: u32,
    /// The frame of sound that is to come next, counted from the clock's origin.
    next: Option<u64>,
    parameters: Parameters,
}

/// By how much the time of sound may differ from the count of its frames before its RTP time leaps: more than captures and
/// encoders are uneven by, less than one hears against pictures. Sender reports tell receivers of what is less.
const TOLERANCE: Duration = Duration::from_millis(50);

impl Track {
    /// A track that starts at a sequence number and an RTP time taken from `random`, as its source is named.
    pub fn new(format: Format, random: [u64; 2]) -> Self {
        let [names, origin] = random;
        Self {
            format,
            ssrc: names as u32,
            sequence: Sequence((names >> 32) as u16),
            origin: origin as u32,
            next: None,
            parameters: Parameters::default(),
        }
    }

    /// What it holds.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Its synchronisation source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// RTP time of the clock's origin: that of an instant is as many ticks later.
    pub fn origin(&self) -> RtpTime {
        RtpTime(self.origin)
    }

    /// The packets of the next access unit; none where its data make no sense.
    pub fn pack(&mut self, access: &Access<'_>) -> Unit {
        let position = if self.format.is_video() {
            ticks(access.at, self.format.clock())
        } else {
            let position = self.position(access.at);
            self.next = Some(position + u64::from(access.frames));
            (u128::from(position) * u128::from(self.format.clock()) / u128::from(self.format.rate().max(1)))
                as u64
        };
        let first = Header {
            marker: false,
            payload_type: self.format.payload_type(),
            sequence: self.sequence,
            timestamp: RtpTime(self.origin.wrapping_add(position as u32)),
            ssrc: self.ssrc,
        };
        let mut unit = Unit::new(first, access.key || !self.format.is_video(), access.at);
        match &self.format {
            Format::Video(codec) => {
                match codec {
                    Codec::H264 => nal::pack::<H264>(access.data, &mut unit),
                    Codec::H265 => nal::pack::<H265>(access.data, &mut unit),
                    Codec::Av1 => av1::pack(access.data, &mut unit),
                }
                let found = if access.key { Parameters::of(*codec, access.data) } else { None };
                if let Some(found) = found.filter(|found| *found != self.parameters) {
                    self.parameters = found.clone();
                    unit.parameters = Some(found);
                }
            }
            Format::Mp3 { .. } => mpa::pack(access.data, &mut unit),
            Format::Aac { .. } => aac::pack(access.data, &mut unit),
            Format::Opus { .. } if access.data.len() <= super::MAX_PAYLOAD => unit.push(&[access.data]),
            Format::Opus { .. } => {}
            Format::L16 { channels, .. } => pcm::pack(access.data, *channels, &mut unit),
        }
        self.sequence = unit.next_sequence();
        unit
    }

    /// The frame of sound that begins at an instant: the next one, unless that is far off.
    fn position(&self, at: Duration) -> u64 {
        let heard = ticks(at, self.format.rate());
        let tolerance = ticks(TOLERANCE, self.format.rate());
        self.next.filter(|next| next.abs_diff(heard) <= tolerance).unwrap_or(heard)
    }
}

/// An instant as a number of ticks, rounded.
pub(crate) fn ticks(at: Duration, rate: u32) -> u64 {
    ((at.as_nanos() * u128::from(rate) + 500_000_000) / 1_000_000_000) as u64
}
