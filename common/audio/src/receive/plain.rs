//! Headerless PCM: what comes is played in the order in which it comes, since nothing says what was lost.

use proto::Reject;
use proto::announce::{Codec, Format};
use proto::units::Mono;

use super::source::Source;
use super::{MAX_PAYLOAD, ReceivePipeline};
use crate::jitter::{Coding, Entry, Label};

impl ReceivePipeline {
    pub(super) fn handle_plain(&mut self, at: Mono, source: Source, datagram: &[u8]) -> Result<(), Reject> {
        let (rate, channels) = (self.config.plain_rate, self.config.plain_channels);
        let frame = datagram.len() / Coding::HEADERLESS.frames(datagram, channels)? as usize;
        if self.live_stream().is_none() {
            let format = Format { payload_type: 0, codec: Codec::L16, channels, rate, frames: 0 };
            self.begin_stream(at, source, format, None, "");
        }
        let start = self.next_place().position;
        let run_dry = self.player.cursor().is_some_and(|cursor| cursor > start);
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.heard = at;
        if self.player.plays_to_device() && run_dry {
            // Nothing says what was lost: the rest is played with the full latency again.
            stream.begin_timeline(at, start);
            self.player.realign();
        }
        let late = stream.timeline.note(start, at);
        self.player.note_lateness(at, late);
        for part in datagram.chunks(MAX_PAYLOAD / frame * frame) {
            let place = self.next_place();
            let entry = Entry {
                sequence: place.sequence,
                position: place.position,
                frames: (part.len() / frame) as u32,
                channels,
                coding: Coding::HEADERLESS,
                label: Label::default(),
                payload: part,
            };
            self.insert(&entry)?;
        }
        Ok(())
    }
}
