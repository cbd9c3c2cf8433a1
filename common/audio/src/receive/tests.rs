mod together;

use proto::announce::{self, Announcement, Companion};
use proto::units::{Ntp, RtpTime, Sequence};

use super::*;

const RETRANSMISSION: Companion = Companion { payload_type: payload_type::RETRANSMISSION, ssrc: 8 };

/// A pipeline that an announcement has come to, in a sender's report where it takes requests.
fn announced(reports: bool) -> ReceivePipeline {
    let config = Config { wire: Some(Wire::Rtp), ..Config::new(20_000_000, "test".into(), 1) };
    let mut pipeline = ReceivePipeline::new(config, Arc::default());
    let mut out = [0; 128];
    let mut builder = rtcp::Builder::new(&mut out);
    if reports {
        let info = rtcp::SenderInfo { ntp: Ntp(1), rtp_time: RtpTime(0), packets: 0, octets: 0 };
        builder.sender_report(7, &info);
    } else {
        builder.receiver_report(7, None);
    }
    let format = payload_type::static_format(payload_type::L16_MONO).unwrap();
    let announcement = Announcement {
        format,
        name: "",
        map: "",
        retransmission: Some(RETRANSMISSION),
        parity: None,
        pace: None,
    };
    let mut body = [0; 64];
    let length = announcement.write(&mut body).unwrap();
    builder.application(7, announce::APP_NAME, 0, &body[..length]);
    let length = builder.finish().unwrap();
    take(&mut pipeline, &out[..length]);
    pipeline
}

/// A pipeline with a stream of which a packet is missing, whose sender takes requests.
fn with_a_gap(reports: bool) -> ReceivePipeline {
    let mut pipeline = announced(reports);
    for number in [0, 2] {
        let header = rtp::Header {
            marker: false,
            payload_type: payload_type::L16_MONO,
            sequence: Sequence(number),
            timestamp: RtpTime(u32::from(number) * 4),
            ssrc: 7,
        };
        take(&mut pipeline, &[&header.to_bytes()[..], &[0; 8]].concat());
    }
    pipeline
}

fn take(pipeline: &mut ReceivePipeline, datagram: &[u8]) {
    pipeline.handle_datagram(Mono(0), "192.0.2.1:5".parse().unwrap(), datagram);
}

#[test]
fn waits_only_for_what_it_can_ask() {
    let mut asks = with_a_gap(true);
    assert!(asks.poll_timeout().is_some_and(|due| due <= Mono(0)));
    let request = asks.poll_transmit(Mono(0)).unwrap();
    assert!(matches!(rtcp::packets(request.bytes).next(), Some(Ok(rtcp::Packet::Nack { .. }))));
    assert!(asks.poll_timeout().is_some_and(|due| due > Mono(0)));
    // As long as it is not known that requests reach the sender, a time that has come would never go by.
    let mut cannot_ask = with_a_gap(false);
    assert!(cannot_ask.poll_transmit(Mono(0)).is_none());
    assert_eq!(cannot_ask.poll_timeout(), None);
}

#[test]
fn what_is_waited_for_is_over_at_its_time() {
    let mut pipeline = announced(false);
    let output = Output::device(1, 44_100, false);
    let incoming = Incoming { rate: 44_100, channels: 1, codec: announce::Codec::L16 };
    pipeline.replace_output(Box::new(output.playing(incoming).unwrap()));
    let chunk = units::frames_to_nanos(CHUNK as i64, 44_100);
    for number in 0..40 {
        let header = rtp::Header {
            marker: false,
            payload_type: payload_type::L16_MONO,
            sequence: Sequence(number),
            timestamp: RtpTime(u32::from(number) * CHUNK as u32),
            ssrc: 7,
        };
        let datagram = [&header.to_bytes()[..], &[0; 2 * CHUNK]].concat();
        let at = Mono(i64::from(number) * chunk);
        pipeline.handle_datagram(at, "192.0.2.1:5".parse().unwrap(), &datagram);
    }
    let mut at = Mono(39 * chunk);
    let until = loop {
        at = at.plus(chunk);
        let due = Due { by: at.plus(1_000_000), ..at.plus(2_000_000).into() };
        if !pipeline.pull_device(at, due, &mut [0.0; CHUNK]) {
            break due.by;
        }
        assert!(at < Mono(200 * chunk), "nothing is waited for");
    };
    assert_eq!(pipeline.poll_timeout(), Some(until));
    pipeline.handle_timeout(until);
    assert_eq!(pipeline.poll_timeout(), None);
}

#[test]
fn every_stream_that_was_told_of_ends_once() {
    for mut pipeline in [announced(true), with_a_gap(true)] {
        assert!(matches!(pipeline.poll_event(), Some(Event::Stream(_))));
        for seconds in 1..5 {
            pipeline.handle_timeout(Mono(seconds * 1_000_000_000));
        }
        assert_eq!(pipeline.poll_event(), Some(Event::Ended(End::Silent)));
        assert_eq!(pipeline.poll_event(), None);
    }
}
