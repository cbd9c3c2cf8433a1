//! How a packet's octets become samples of an output. One channel goes to every output; of several, each to its own. A
//! receiver may have a channel map: it then plays what that makes of the stream's channels.

use proto::announce::{Codec, Format};
use proto::pcm::Sample;
use proto::units::Position;
use proto::{Reject, announce};

use crate::jitter::{Coding, Slot};
use crate::map::ChannelMap;
use crate::opus;

/// The longest loss that Opus makes something up for, in packets.
const MOST_CONCEALED: u32 = 4;

impl Coding {
    /// How a stream of this format is coded.
    pub(super) fn of(format: &Format) -> Self {
        match format.codec {
            Codec::L16 => Self::L16,
            Codec::L24 => Self::L24,
            Codec::Opus => Self::Opus,
        }
    }

    /// Frames in a payload.
    ///
    /// # Errors
    /// [`Reject::Length`] where it is none of this kind.
    pub(super) fn frames(self, payload: &[u8], channels: u16) -> Result<u32, Reject> {
        let frames = match self {
            Self::Pcm(sample) => sample.frames(payload, channels)?,
            Self::Opus => opus::frames(payload).ok_or(Reject::Length)?,
        };
        Ok(frames as u32)
    }
}

/// Turns payloads into samples.
pub(super) struct Decoder {
    kind: Kind,
    map: Option<ChannelMap>,
}

enum Kind {
    Pcm,
    Opus(Box<Opus>),
}

/// A decoder of Opus and what it decoded last.
pub(super) struct Opus {
    inner: opus::Decoder,
    channels: usize,
    block: Vec<f32>,
    start: Position,
    frames: usize,
    /// Packets in a row that were made up.
    concealed: u32,
}

impl Decoder {
    /// For streams of PCM of any width and number of channels.
    pub(super) fn pcm() -> Self {
        Self { kind: Kind::Pcm, map: None }
    }

    /// Plays what this map makes of the stream's channels; those that the stream does not have are silent.
    pub(super) fn play(&mut self, map: Option<ChannelMap>) {
        self.map = map;
    }

    /// The map, where there is one.
    pub(super) fn map(&self) -> Option<&ChannelMap> {
        self.map.as_ref()
    }

    /// For streams of this codec and so many channels.
    ///
    /// # Errors
    /// Where there is no memory for a decoder of Opus.
    pub(super) fn new(codec: Codec, channels: u16) -> Result<Self, &'static str> {
        if codec != Codec::Opus {
            return Ok(Self::pcm());
        }
        let inner = opus::Decoder::new(channels).map_err(|_| "there is no memory for a decoder of Opus")?;
        let channels = usize::from(channels);
        let block = vec![0.0; opus::MAX_FRAMES * channels];
        let opus = Box::new(Opus {
            inner,
            channels,
            block,
            start: Position(0),
            frames: 0,
            concealed: MOST_CONCEALED,
        });
        Ok(Self { kind: Kind::Opus(opus), map: None })
    }

    /// Whether it decodes such a stream.
    pub(super) fn fits(&self, format: &Format) -> bool {
        match &self.kind {
            Kind::Pcm => format.codec != Codec::Opus,
            Kind::Opus(opus) => format.codec == Codec::Opus && usize::from(format.channels) == opus.channels,
        }
    }

    /// Decodes a packet's frames from `skip` on.
    pub(super) fn render(
        &mut self,
        slot: &Slot,
        payload: &[u8],
        skip: usize,
        out: &mut [f32],
        channels: usize,
    ) {
        let mut to = Out { samples: out, channels, map: self.map.as_ref() };
        match (&mut self.kind, slot.coding) {
            (Kind::Opus(opus), Coding::Opus) => opus.render(slot, payload, skip, &mut to),
            (_, Coding::Pcm(sample)) => render_pcm(slot, sample, payload, skip, &mut to),
            (Kind::Pcm, Coding::Opus) => to.samples.fill(0.0),
        }
    }

    /// Makes something up for what is missing from `cursor` on, if the codec can; `next` is how many frames are missing and
    /// the payload after them, where it has come. Returns the frames written.
    pub(super) fn conceal(
        &mut self,
        cursor: Position,
        next: Option<(u64, &[u8])>,
        out: &mut [f32],
        channels: usize,
    ) -> usize {
        match &mut self.kind {
            Kind::Pcm => 0,
            Kind::Opus(opus) => {
                opus.conceal(cursor, next, &mut Out { samples: out, channels, map: self.map.as_ref() })
            }
        }
    }
}

/// Where samples go.
struct Out<'a> {
    samples: &'a mut [f32],
    channels: usize,
    map: Option<&'a ChannelMap>,
}

impl Out<'_> {
    /// The same, of so many frames.
    fn first(&mut self, frames: usize) -> Out<'_> {
        Out { samples: &mut self.samples[..frames * self.channels], ..*self }
    }
}

impl Opus {
    fn render(&mut self, slot: &Slot, payload: &[u8], skip: usize, out: &mut Out<'_>) {
        if self.frames == 0 || self.start != slot.position || self.concealed > 0 {
            let room = slot.frames as usize * self.channels;
            let decoded = self.block.get_mut(..room).and_then(|block| self.inner.decode(payload, block));
            (self.start, self.frames, self.concealed) = (slot.position, decoded.unwrap_or(0), 0);
        }
        self.copy(skip, out);
    }

    fn conceal(&mut self, cursor: Position, next: Option<(u64, &[u8])>, out: &mut Out<'_>) -> usize {
        let end = self.start.advanced(self.frames as u64);
        if self.frames == 0 || cursor < self.start || cursor > end {
            return 0;
        }
        if cursor == end {
            if self.concealed == MOST_CONCEALED {
                return 0;
            }
            let frames = self.frames;
            let told = next.filter(|(missing, next)| *missing == frames as u64 && opus::has_redundancy(next));
            let made = match told {
                Some((_, next)) => self.inner.recover(next, frames, &mut self.block),
                None => self.inner.conceal(frames, &mut self.block),
            };
            if made.is_none() {
                return 0;
            }
            self.start = end;
            self.concealed += 1;
        }
        let skip = cursor.since(self.start) as usize;
        let frames = (self.frames - skip).min(out.samples.len() / out.channels);
        self.copy(skip, &mut out.first(frames));
        frames
    }

    fn copy(&self, skip: usize, out: &mut Out<'_>) {
        let decoded = self.block[..self.frames * self.channels].get(skip * self.channels..).unwrap_or(&[]);
        let mut frames = decoded.chunks_exact(self.channels);
        for to in out.samples.chunks_exact_mut(out.channels) {
            match frames.next() {
                Some(from) => spread(from, to, out.map),
                None => to.fill(0.0),
            }
        }
    }
}

fn render_pcm(slot: &Slot, sample: Sample, payload: &[u8], skip: usize, out: &mut Out<'_>) {
    let source = usize::from(slot.channels);
    let frame = source * sample.octets();
    let payload = payload.get(skip * frame..).unwrap_or(&[]);
    if source == out.channels && out.map.is_none() {
        return sample.decode(payload, out.samples);
    }
    let mut samples = [0.0; announce::MAX_CHANNELS as usize];
    let frames = out.samples.chunks_exact_mut(out.channels);
    for (to, octets) in frames.zip(payload.chunks_exact(frame)) {
        sample.decode(octets, &mut samples[..source]);
        spread(&samples[..source], to, out.map);
    }
}

fn spread(from: &[f32], to: &mut [f32], map: Option<&ChannelMap>) {
    if let Some(map) = map {
        let sum =
            |sources: &Vec<u16>| sources.iter().filter_map(|&channel| from.get(usize::from(channel))).sum();
        if let [only] = map.outputs() {
            return to.fill(sum(only));
        }
        to.fill(0.0);
        return to.iter_mut().zip(map.outputs()).for_each(|(to, sources)| *to = sum(sources));
    }
    if let [only] = *from {
        return to.fill(only);
    }
    let (heard, rest) = to.split_at_mut(from.len().min(to.len()));
    heard.copy_from_slice(&from[..heard.len()]);
    rest.fill(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_picks_sums_and_repeats_the_streams_channels() {
        let map = |text: &str| text.parse::<ChannelMap>().unwrap();
        let from = [0.1, 0.2, 0.4];
        let mut to = [9.0; 4];
        spread(&from, &mut to, Some(&map("2,0+1,7")));
        assert_eq!(to, [0.4, 0.1 + 0.2, 0.0, 0.0]);
        spread(&from, &mut to, Some(&map("1+7")));
        assert_eq!(to, [0.2; 4], "one output goes to all");
        spread(&from[..1], &mut to, Some(&map("0,0")));
        assert_eq!(to, [0.1, 0.1, 0.0, 0.0]);
    }
}
