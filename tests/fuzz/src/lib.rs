//! What the targets share: a heap that counts, RTCP to build and to check, and a sender that repairs.

pub mod mend;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use arbitrary::Arbitrary;
use proto::announce::{self, Announcement, Codec, Companion, Format, Pace};
use proto::exchange::{self, Reply, Request};
use proto::payload_type;
use proto::playout::{self, Playout};
use proto::rtcp::{Builder, Packet, ReportBlock, SenderInfo, packets};
use proto::timing::{self, Anchor, Delay, Timing};
use proto::units::{Mono, Ntp, RtpTime, Sequence};

/// Where the targets' senders begin: near the wrap.
pub const FIRST: Sequence = Sequence(0xfff0);
/// Packets sent again.
pub const RETRANSMISSION: Companion = Companion { payload_type: payload_type::RETRANSMISSION, ssrc: 8 };
/// Parity sent ahead.
pub const PARITY: Companion = Companion { payload_type: payload_type::PARITY, ssrc: 9 };
/// Longest compound that is built, in octets: a datagram's worth.
const LONGEST: usize = 2048;

struct CountingHeap;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: every call goes to the system's heap as it came.
unsafe impl GlobalAlloc for CountingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: CountingHeap = CountingHeap;

/// Runs what must neither take memory nor give it back.
pub fn without_heap<T>(body: impl FnOnce() -> T) -> T {
    let before = CALLS.get();
    let result = body();
    assert_eq!(CALLS.get() - before, 0, "calls of the heap");
    result
}

/// A number from a small set, so that two of them are often equal.
#[derive(Arbitrary, Clone, Copy, Debug, Default)]
pub struct Few(u8);

impl Few {
    /// 0 to 3.
    pub fn get(self) -> u32 {
        u32::from(self.0 % 4)
    }
}

/// A sample rate, more often than not the one of the static payload types.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Rate(u8);

impl Rate {
    /// In Hz.
    pub fn get(self) -> u32 {
        match self.0 {
            0..160 => 44_100,
            160..192 => 48_000,
            192..224 => 8_000,
            224.. => 192_000,
        }
    }
}

/// A sequence number, often near the [first](FIRST).
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Number {
    Near(i8),
    Any(u16),
}

impl Number {
    /// The number.
    pub fn get(self) -> Sequence {
        match self {
            Self::Near(distance) => Sequence(FIRST.0.wrapping_add_signed(distance.into())),
            Self::Any(number) => Sequence(number),
        }
    }
}

/// How samples are coded.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Kind {
    L16,
    L24,
    Opus,
}

impl Kind {
    /// The codec.
    pub fn codec(self) -> Codec {
        match self {
            Self::L16 => Codec::L16,
            Self::L24 => Codec::L24,
            Self::Opus => Codec::Opus,
        }
    }

    /// The payload type that our sender announces it under.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::L16 => payload_type::L16_ANNOUNCED,
            Self::L24 => payload_type::L24,
            Self::Opus => payload_type::OPUS,
        }
    }
}

/// Which streams of repair are announced, some of them with another's numbers.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Companions(u8);

impl Companions {
    fn retransmission(self) -> Option<Companion> {
        match self.0 % 4 {
            0 => None,
            3 => Some(Companion { payload_type: payload_type::L16_MONO, ssrc: 0 }),
            _ => Some(RETRANSMISSION),
        }
    }

    fn parity(self) -> Option<Companion> {
        match self.0 / 4 % 4 {
            0 => None,
            3 => Some(RETRANSMISSION),
            _ => Some(PARITY),
        }
    }
}

/// A part of an RTCP compound.
#[derive(Arbitrary, Debug)]
pub enum Part<'a> {
    Sender {
        ssrc: Few,
        ntp: u64,
    },
    Receiver {
        ssrc: Few,
        about: u32,
        lost: i32,
        last_sr: u32,
        delay: u32,
    },
    Description {
        ssrc: Few,
        cname: &'a str,
    },
    Bye {
        ssrc: Few,
    },
    Announcement {
        payload_type: u8,
        kind: Kind,
        channels: u8,
        rate: Rate,
        frames: u16,
        name: &'a str,
        map: &'a str,
        companions: Companions,
    },
    Playout {
        latency_us: u32,
        depth_us: u32,
        unrepaired: u32,
    },
    /// What receivers of our own report beyond that.
    Precision {
        error_ns: i32,
        round_trip_us: u32,
        drift_ppb: i32,
        concealed: u32,
        synced: bool,
        late: bool,
    },
    /// Answers a question about the sender's clock that was written then, at times since then by that clock's lead.
    Answer {
        asked: i64,
        ahead: i64,
        received: i32,
        spent: u32,
    },
    /// Says when to play.
    Timing {
        ssrc: Few,
        /// The anchor, and when it was captured; the beginning of the slew from there.
        time: u32,
        captured: i64,
        begin: i32,
        slow_ppb: i32,
        from_us: u32,
        to_us: u32,
        trim_ns: i32,
    },
    /// Asks about the sender's clock.
    Question {
        written: i64,
        wanted_us: u32,
    },
    /// Asks for those of `count` numbers whose bits are set.
    Nack {
        about: u32,
        first: Number,
        bits: u16,
        count: u8,
    },
    Application {
        name: [u8; 4],
        body: &'a [u8],
    },
}

/// The octets of a compound.
pub fn compound(parts: &[Part<'_>]) -> Vec<u8> {
    let mut octets = vec![0; LONGEST];
    let mut builder = Builder::new(&mut octets);
    parts.iter().for_each(|part| part.build(&mut builder));
    let length = builder.finish().unwrap_or(0);
    octets.truncate(length);
    octets
}

impl Part<'_> {
    fn build(&self, builder: &mut Builder<'_>) {
        match *self {
            Self::Sender { ssrc, ntp } => {
                let info = SenderInfo { ntp: Ntp(ntp), rtp_time: RtpTime(0), packets: 0, octets: 0 };
                builder.sender_report(ssrc.get(), &info);
            }
            Self::Receiver { ssrc, about, lost, last_sr, delay } => {
                let block = ReportBlock {
                    ssrc: about % 8,
                    cumulative_lost: lost,
                    last_sr,
                    delay_since_last_sr: delay,
                    ..ReportBlock::default()
                };
                builder.receiver_report(ssrc.get(), Some(&block));
            }
            Self::Description { ssrc, cname } => builder.description(ssrc.get(), cname),
            Self::Bye { ssrc } => builder.bye(ssrc.get()),
            Self::Announcement { payload_type, kind, channels, rate, frames, name, map, companions } => {
                let codec = kind.codec();
                let rate = if codec == Codec::Opus { announce::OPUS_RATE } else { rate.get() };
                let format = Format { payload_type, codec, channels: channels.into(), rate, frames };
                let (retransmission, parity) = (companions.retransmission(), companions.parity());
                let pace = (frames % 2 == 1).then_some(Pace { report_ms: frames, question_ms: frames });
                let mut body = [0; 400];
                let length = Announcement { format, name, map, retransmission, parity, pace }
                    .write(&mut body)
                    .unwrap_or(0);
                builder.application(0, announce::APP_NAME, 0, &body[..length]);
            }
            Self::Playout { latency_us, depth_us, unrepaired } => {
                let playout = Playout { latency_us, depth_us, unrepaired, ..Playout::default() };
                builder.application(0, playout::APP_NAME, 0, &playout.to_bytes());
            }
            Self::Precision { error_ns, round_trip_us, drift_ppb, concealed, synced, late } => {
                let playout = Playout {
                    error_ns,
                    worst_error_ns: error_ns,
                    round_trip_us,
                    drift_ppb,
                    concealed,
                    synced,
                    late,
                    ..Playout::default()
                };
                builder.application(0, playout::APP_NAME, 0, &playout.to_bytes());
            }
            Self::Answer { asked, ahead, received, spent } => {
                let received = asked.saturating_add(ahead).saturating_add(received.into());
                let answered = received.saturating_add(spent.into());
                let [asked, received, answered] = [asked, received, answered].map(Mono);
                let reply = Reply { asked, received, answered };
                builder.application(0, exchange::APP_NAME, exchange::REPLY, &reply.to_bytes());
            }
            Self::Timing { ssrc, time, captured, begin, slow_ppb, from_us, to_us, trim_ns } => {
                let anchor = Anchor { rtp_time: RtpTime(time), captured: Mono(captured), slow_ppb };
                let begin = RtpTime(time.wrapping_add_signed(begin));
                let timing = Timing { anchor, delay: Delay { from_us, to_us, begin }, trim_ns };
                builder.application(ssrc.get(), timing::APP_NAME, 0, &timing.to_bytes());
            }
            Self::Question { written, wanted_us } => {
                let request = Request { written: Mono(written), wanted_us, media: 0 };
                builder.application(0, exchange::APP_NAME, exchange::REQUEST, &request.to_bytes());
            }
            Self::Nack { about, first, bits, count } => {
                let first = first.get().0;
                let numbers = (0..u16::from(count)).filter(|n| bits >> (n % 16) & 1 == 1);
                builder.nack(7, about % 8, numbers.map(|n| Sequence(first.wrapping_add(n))));
            }
            Self::Application { name, body } => builder.application(0, name, 0, body),
        }
    }
}

/// Checks a compound that we send: it begins with a report unless it is a request, and all of it can be read.
pub fn check_compound(octets: &[u8]) {
    let mut read = packets(octets);
    let first = read.next().unwrap().unwrap();
    assert!(matches!(first, Packet::Sender { .. } | Packet::Receiver { .. } | Packet::Nack { .. }));
    for packet in read {
        let Packet::Application { name, subtype, body, .. } = packet.unwrap() else { continue };
        match (name, subtype) {
            (announce::APP_NAME, _) => drop(Announcement::parse(body).unwrap()),
            (timing::APP_NAME, _) => drop(Timing::parse(body).unwrap()),
            (exchange::APP_NAME, exchange::REPLY) => drop(Reply::parse(body).unwrap()),
            (exchange::APP_NAME, _) => drop(Request::parse(body).unwrap()),
            _ => {}
        }
    }
}
