//! RTCP compound packets: SR, RR, SDES (CNAME), BYE and APP (RFC 3550, section 6), and requests for lost packets
//! (RFC 4585).

mod feedback;

pub use feedback::Lost;

use crate::Reject;
use crate::cursor::{Reader, Writer};
use crate::units::{Ntp, RtpTime};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const APPLICATION: u8 = 204;
const TRANSPORT_FEEDBACK: u8 = 205;
const CNAME: u8 = 1;

/// Longest compound packet that [`Builder`] is asked to write here, in octets.
pub const MAX_COMPOUND: usize = 512;

/// What a sender says of its own stream (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock of the instant that `rtp_time` names.
    pub ntp: Ntp,
    /// RTP time stamp of the same instant.
    pub rtp_time: RtpTime,
    /// Packets sent since the stream began.
    pub packets: u32,
    /// Payload octets sent since the stream began.
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the stream began, 24 bits, negative where duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of wraps in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter in RTP clock ticks.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP time stamp; 0 where none was received.
    pub last_sr: u32,
    /// Time since that SR arrived, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Sender report.
    Sender {
        /// Who sends.
        ssrc: u32,
        /// The sender's own figures.
        info: SenderInfo,
        /// What it receives.
        blocks: Blocks<'a>,
    },
    /// Receiver report.
    Receiver {
        /// Who reports.
        ssrc: u32,
        /// One block for each source.
        blocks: Blocks<'a>,
    },
    /// Source description: the CNAME of the first chunk that has one.
    Description {
        /// Who is described.
        ssrc: u32,
        /// The canonical name's octets; other programs need not send UTF-8.
        cname: &'a [u8],
    },
    /// Sources that leave.
    Bye {
        /// The first source; `None` for an empty list.
        ssrc: Option<u32>,
    },
    /// An application's own packet.
    Application {
        /// Who sends.
        ssrc: u32,
        /// The packet's name.
        name: [u8; 4],
        /// 5 bits, the application's own.
        subtype: u8,
        /// The rest.
        body: &'a [u8],
    },
    /// A request to send lost packets again: the generic NACK (RFC 4585, 6.2.1).
    Nack {
        /// Who asks.
        sender: u32,
        /// The source whose packets were lost.
        media: u32,
        /// Which ones.
        lost: Lost<'a>,
    },
    /// A well-formed packet of a type that is not used here.
    Other {
        /// RTCP packet type.
        packet_type: u8,
    },
}

/// The report blocks of an SR or RR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let mut reader = Reader(self.0);
        let block = parse_block(&mut reader).ok()?;
        self.0 = reader.0;
        Some(block)
    }
}

/// The packets of a compound datagram. Ends after the first that is refused.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

/// Walks a compound datagram (RFC 3550, 6.1). Reduced-size ones (RFC 5506) are read as well.
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut reader = Reader(self.rest);
        let packet = parse_packet(&mut reader);
        self.rest = if packet.is_ok() { reader.0 } else { &[] };
        Some(packet)
    }
}

fn parse_packet<'a>(reader: &mut Reader<'a>) -> Result<Packet<'a>, Reject> {
    let first = reader.u8()?;
    if first >> 6 != 2 {
        return Err(Reject::Version);
    }
    let count = first & 0x1f;
    let packet_type = reader.u8()?;
    let words = reader.u16()?;
    let mut body = Reader(reader.take(4 * usize::from(words))?);
    if first & 0x20 != 0 {
        let padding = usize::from(*body.0.last().ok_or(Reject::Padding)?);
        let length = body.0.len().checked_sub(padding).ok_or(Reject::Padding)?;
        body = Reader(&body.0[..length]);
    }
    match packet_type {
        SENDER_REPORT => Ok(Packet::Sender {
            ssrc: body.u32()?,
            info: SenderInfo {
                ntp: Ntp(body.u64()?),
                rtp_time: RtpTime(body.u32()?),
                packets: body.u32()?,
                octets: body.u32()?,
            },
            blocks: Blocks(body.take(24 * usize::from(count))?),
        }),
        RECEIVER_REPORT => {
            Ok(Packet::Receiver { ssrc: body.u32()?, blocks: Blocks(body.take(24 * usize::from(count))?) })
        }
        SOURCE_DESCRIPTION => parse_description(&mut body, count),
        GOODBYE => Ok(Packet::Bye { ssrc: if count > 0 { Some(body.u32()?) } else { None } }),
        APPLICATION => {
            let ssrc = body.u32()?;
            let mut name = [0; 4];
            name.copy_from_slice(body.take(4)?);
            Ok(Packet::Application { ssrc, name, subtype: count, body: body.0 })
        }
        TRANSPORT_FEEDBACK if count == feedback::GENERIC_NACK => {
            Ok(Packet::Nack { sender: body.u32()?, media: body.u32()?, lost: Lost::parse(body.0)? })
        }
        packet_type => Ok(Packet::Other { packet_type }),
    }
}

fn parse_block(reader: &mut Reader<'_>) -> Result<ReportBlock, Reject> {
    let ssrc = reader.u32()?;
    let lost = reader.u32()?;
    Ok(ReportBlock {
        ssrc,
        fraction_lost: (lost >> 24) as u8,
        // Shifting up and back down extends the sign of the 24-bit field.
        cumulative_lost: ((lost << 8) as i32) >> 8,
        highest_sequence: reader.u32()?,
        jitter: reader.u32()?,
        last_sr: reader.u32()?,
        delay_since_last_sr: reader.u32()?,
    })
}

fn parse_description<'a>(body: &mut Reader<'a>, chunks: u8) -> Result<Packet<'a>, Reject> {
    for _ in 0..chunks {
        let ssrc = body.u32()?;
        let chunk_length = body.0.len();
        loop {
            let kind = body.u8()?;
            if kind == 0 {
                break;
            }
            let length = usize::from(body.u8()?);
            let value = body.take(length)?;
            if kind == CNAME {
                return Ok(Packet::Description { ssrc, cname: value });
            }
        }
        let used = chunk_length - body.0.len();
        body.take(used.next_multiple_of(4) - used)?;
    }
    Err(Reject::Value)
}

/// Writes a compound packet into a caller's buffer.
pub struct Builder<'a> {
    writer: Writer<'a>,
}

impl<'a> Builder<'a> {
    /// Starts an empty compound.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { writer: Writer::new(out) }
    }

    /// Begins with an empty receiver report: a compound has to begin with a report (RFC 3550, 6.1).
    pub fn with_empty_report(out: &'a mut [u8], ssrc: u32) -> Self {
        let mut builder = Self::new(out);
        builder.receiver_report(ssrc, None);
        builder
    }

    /// Adds a sender report without blocks.
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo) {
        let start = self.begin(0, SENDER_REPORT, ssrc);
        self.writer.put(&info.ntp.0.to_be_bytes());
        for field in [info.rtp_time.0, info.packets, info.octets] {
            self.writer.put(&field.to_be_bytes());
        }
        self.end(start);
    }

    /// Adds a receiver report with one block, or none.
    pub fn receiver_report(&mut self, ssrc: u32, block: Option<&ReportBlock>) {
        let start = self.begin(u8::from(block.is_some()), RECEIVER_REPORT, ssrc);
        if let Some(block) = block {
            let lost = (u32::from(block.fraction_lost) << 24) | (block.cumulative_lost as u32 & 0x00ff_ffff);
            let fields = [
                block.ssrc,
                lost,
                block.highest_sequence,
                block.jitter,
                block.last_sr,
                block.delay_since_last_sr,
            ];
            for field in fields {
                self.writer.put(&field.to_be_bytes());
            }
        }
        self.end(start);
    }

    /// Adds a source description with a CNAME of at most 255 octets (cut there).
    pub fn description(&mut self, ssrc: u32, cname: &str) {
        let start = self.begin(1, SOURCE_DESCRIPTION, ssrc);
        let value = &cname.as_bytes()[..cname.len().min(255)];
        self.writer.put(&[CNAME, value.len() as u8]);
        self.writer.put(value);
        // The list ends with at least one zero octet (RFC 3550, 6.5).
        self.writer.put(&[0]);
        self.end(start);
    }

    /// Adds a BYE for one source.
    pub fn bye(&mut self, ssrc: u32) {
        let start = self.begin(1, GOODBYE, ssrc);
        self.end(start);
    }

    /// Adds an application's packet; the body is padded with zeros to a multiple of four octets.
    pub fn application(&mut self, ssrc: u32, name: [u8; 4], subtype: u8, body: &[u8]) {
        let start = self.begin(subtype & 0x1f, APPLICATION, ssrc);
        self.writer.put(&name);
        self.writer.put(body);
        self.end(start);
    }

    /// Octets written, or `None` if the buffer was too small.
    pub fn finish(self) -> Option<usize> {
        self.writer.finish()
    }

    fn begin(&mut self, count: u8, packet_type: u8, ssrc: u32) -> usize {
        let start = self.writer.len();
        self.writer.put(&[(2 << 6) | count, packet_type, 0, 0]);
        self.writer.put(&ssrc.to_be_bytes());
        start
    }

    fn end(&mut self, start: usize) {
        self.writer.align();
        // Without room there is not even a first word.
        let words = ((self.writer.len() - start) / 4).saturating_sub(1);
        self.writer.patch_u16(start + 2, words as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Laid out by hand from the figures in RFC 3550, sections 6.4.1, 6.5 and 6.6.
    const GOLDEN: [u8; 48] = [
        0x80, 200, 0, 6, 0xca, 0xfe, 0xba, 0xbe, // SR
        0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0, // NTP: 1970 and a half second
        0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 1, 0, // RTP time, packets, octets
        0x81, 202, 0, 2, 0xca, 0xfe, 0xba, 0xbe, // SDES
        1, 1, b'x', 0, // CNAME, end
        0x81, 203, 0, 1, 0xca, 0xfe, 0xba, 0xbe, // BYE
    ];

    const INFO: SenderInfo =
        SenderInfo { ntp: Ntp(0x83aa_7e80_8000_0000), rtp_time: RtpTime(9), packets: 2, octets: 256 };

    #[test]
    fn golden_bytes_both_ways() {
        let mut out = [0; 64];
        let mut builder = Builder::new(&mut out);
        builder.sender_report(0xcafe_babe, &INFO);
        builder.description(0xcafe_babe, "x");
        builder.bye(0xcafe_babe);
        let length = builder.finish().unwrap();
        assert_eq!(out[..length], GOLDEN);
        let read: Vec<_> = packets(&GOLDEN).map(Result::unwrap).collect();
        assert_eq!(
            read,
            [
                Packet::Sender { ssrc: 0xcafe_babe, info: INFO, blocks: Blocks(&[]) },
                Packet::Description { ssrc: 0xcafe_babe, cname: b"x" },
                Packet::Bye { ssrc: Some(0xcafe_babe) },
            ]
        );
    }

    #[test]
    fn too_small_a_buffer_is_reported() {
        let mut out = [0; GOLDEN.len()];
        for length in 0..=out.len() {
            let mut builder = Builder::new(&mut out[..length]);
            builder.sender_report(1, &INFO);
            builder.description(1, "x");
            builder.bye(1);
            assert_eq!(builder.finish(), (length == GOLDEN.len()).then_some(length));
        }
    }

    #[test]
    fn stops_at_the_first_broken_packet() {
        let mut broken = GOLDEN;
        broken[28] = 0x41;
        let read: Vec<_> = packets(&broken).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1], Err(Reject::Version));
    }

    proptest! {
        #[test]
        fn report_blocks_survive(ssrc: u32, fraction_lost: u8, cumulative_lost in -(1i32 << 23)..(1 << 23),
                                 highest_sequence: u32, jitter: u32, last_sr: u32, delay_since_last_sr: u32) {
            let block = ReportBlock {
                ssrc, fraction_lost, cumulative_lost, highest_sequence, jitter, last_sr, delay_since_last_sr,
            };
            let mut out = [0; 64];
            let mut builder = Builder::new(&mut out);
            builder.receiver_report(7, Some(&block));
            let length = builder.finish().unwrap();
            let Some(Ok(Packet::Receiver { ssrc: 7, mut blocks })) = packets(&out[..length]).next() else {
                return Err(TestCaseError::fail("not a receiver report"));
            };
            prop_assert_eq!(blocks.next(), Some(block));
            prop_assert_eq!(blocks.next(), None);
        }

        #[test]
        fn applications_survive(subtype in 0u8..32, body in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut out = [0; 64];
            let mut builder = Builder::new(&mut out);
            builder.application(5, *b"Test", subtype, &body);
            let length = builder.finish().unwrap();
            let Some(Ok(Packet::Application { ssrc: 5, name, subtype: read, body: padded })) =
                packets(&out[..length]).next() else {
                return Err(TestCaseError::fail("not an application's packet"));
            };
            prop_assert_eq!((&name, read), (b"Test", subtype));
            prop_assert_eq!(&padded[..body.len()], &body[..]);
            prop_assert!(padded.len() - body.len() < 4);
        }

        #[test]
        fn any_bytes_are_answered_in_bounded_work(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            prop_assert!(packets(&bytes).count() <= 1 + bytes.len() / 4);
        }
    }
}
