//! What a script of the receive pipeline holds.

use arbitrary::Arbitrary;
use audio::opus;
use fuzz::{Companions, Few, Kind, Number, Part, Rate};

#[derive(Arbitrary, Debug)]
pub struct Script<'a> {
    pub wire: Option<u8>,
    pub latency_ms: u8,
    pub adaptive: Option<u8>,
    pub trim_ms: Option<i8>,
    pub plain_rate: Rate,
    pub plain_channels: u8,
    pub output: OutputChoice,
    /// Packets, rows and spread of the parity.
    pub parity: (u8, u8, u8),
    /// Of eight datagrams, those that the first path loses and those that a second one brings.
    pub paths: (u8, u8),
    pub steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct OutputChoice {
    pub device: bool,
    pub seldom: u8,
    pub channels: u8,
    /// Of a device that resamples; `None` is the stream's.
    pub rate: Option<Rate>,
    pub playing: Playing,
}

impl OutputChoice {
    /// Seldom, and only where it is heard: building the filters takes longer than all the rest.
    pub fn resampled(self) -> bool {
        self.device && self.seldom % 8 == 7 && matches!(self.playing, Playing::Told)
    }
}

/// Which stream an output is for.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Playing {
    /// The one that was told of last.
    Told,
    Other {
        kind: Kind,
        channels: u8,
        rate: Rate,
    },
}

#[derive(Arbitrary, Debug)]
pub enum Step<'a> {
    Octets {
        from: Few,
        octets: &'a [u8],
    },
    Rtp(Run),
    /// A report and an announcement, as our sender begins; nothing may have been sent yet.
    Announce {
        from: Few,
        sends: bool,
        ssrc: Few,
        kind: Kind,
        channels: u8,
        rate: Rate,
        companions: Companions,
    },
    Rtcp {
        from: Few,
        parts: Vec<Part<'a>>,
    },
    /// Timing of what was sent last, and answers to questions about the clock.
    Time {
        ssrc: Few,
        rounds: u8,
        /// How far the sender's clock is ahead, in milliseconds, how long the way was, and how long it took for the answer.
        ahead_ms: i32,
        way_us: i16,
        spent_us: u8,
        /// When the anchor was captured, from now on, in units of 20 µs.
        captured: i16,
        begin: i32,
        slow_ppb: i32,
        delays: (u16, u16),
        trim_us: i16,
    },
    /// Nobody asked for it, or it is another than asked for.
    Again {
        from: Few,
        number: Number,
        ticks: i16,
        length: u16,
    },
    /// Of no packets that were sent.
    Parity {
        from: Few,
        first: Number,
        shape: [u8; 4],
        length: u16,
    },
    Plain {
        from: Few,
        length: u16,
        count: u8,
        play: bool,
    },
    Wait {
        ms: u8,
    },
    Pause {
        seconds: u8,
    },
    Play {
        chunks: u8,
        lost_us: u16,
    },
    /// Asks for a count that is no whole number of frames, or as another kind of output would.
    PullStream {
        samples: u16,
    },
    PullDevice,
    Output(OutputChoice),
    Latency {
        ms: u16,
    },
    Realign,
    Events,
    Tick {
        answered: bool,
    },
}

/// RTP packets, one after the other.
#[derive(Arbitrary, Debug)]
pub struct Run {
    pub from: Few,
    pub ssrc: Few,
    pub payload_type: PayloadType,
    pub jump: Jump,
    pub frames: u16,
    pub channels: u8,
    pub late_us: i16,
    pub count: u8,
    /// A bit for each of eight packets in turn.
    pub lost: u8,
    pub parity: bool,
    /// Play as much after each packet as it brought.
    pub play: bool,
}

/// What lies between the last packet's end and this one's start: packets and ticks.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Jump {
    None,
    Near(i8, i16),
    Far(i16, i32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum PayloadType {
    Stereo,
    Mono,
    Announced(Kind),
    /// With this first octet.
    Opus(u8),
    Other(u8),
}

impl PayloadType {
    pub fn number(self) -> u8 {
        match self {
            Self::Stereo => 10,
            Self::Mono => 11,
            Self::Announced(kind) => kind.payload_type(),
            Self::Opus(_) => Kind::Opus.payload_type(),
            Self::Other(number) => number & 0x7f,
        }
    }
}

impl Run {
    /// Makes a payload. Returns its octets, and its frames as far as the sender knows.
    pub fn fill(&self, payload: &mut [u8]) -> (usize, usize) {
        let frames = usize::from(self.frames % 1024);
        let samples = frames * usize::from(channels(self.channels));
        match self.payload_type {
            PayloadType::Opus(first) => {
                payload[0] = first;
                let length = 1 + frames % 256;
                (length, opus::frames(&payload[..length]).unwrap_or(frames))
            }
            PayloadType::Announced(Kind::L24) => (samples * 3, frames),
            _ => (samples * 2, frames),
        }
    }
}

/// A count of channels, more often than not one or two.
pub fn channels(octet: u8) -> u16 {
    [1, 2, 1, 2, 1, 2, 3, 8][usize::from(octet % 8)]
}
