//! A flood: datagrams of every kind, by the ten thousands a second, at the port of a receiver that plays a known file.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use os::udp::{Outbox, Socket};
use proto::rtp::Header;
use proto::units::{RtpTime, Sequence};
use proto::{payload_type, rtcp};
use serde_json::Value;
use sim::random::Random;

use crate::program::Program;
use crate::sound::Sound;

const RATE: u32 = 44_100;
/// Frames in a packet of PCM, unless something else is asked for.
const PACKET: u64 = 128;
/// Different datagrams.
const KINDS: usize = 4096;
/// Sockets that they come from.
const SOCKETS: u8 = 8;
/// Datagrams that one socket sends after another.
const BATCH: u64 = 64;
/// Longest of them, in octets: what fits plain Ethernet.
const LONGEST: usize = 1400;

/// What the stream is played to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ear {
    /// A file, in which every sample is compared.
    File,
    /// A virtual card.
    Card,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Datagrams of the flood that the system took, and how many those were a second.
    pub flood: u64,
    /// See [`flood`](Self::flood).
    pub per_second: f64,
    /// Datagrams of the sender that is played.
    pub sent: u64,
    /// Datagrams that found no room in the receiver's socket.
    pub dropped: u64,
    /// Datagrams that the receiver took, and those of them that it says what became of.
    pub received: u64,
    /// See [`received`](Self::received).
    pub accounted: u64,
    /// Samples in a packet of the stream.
    pub packet: u64,
    /// Samples of the file, and those of them that are wrong or missing in the recording; of a card, that it had to make up while the
    /// flood went on.
    pub samples: u64,
    /// See [`samples`](Self::samples).
    pub wrong: u64,
    /// Packets of the stream that nothing brought back.
    pub lost: u64,
    /// Streams that the receiver played.
    pub streams: u64,
    /// Its memory before and after, in KiB.
    pub resident: (u64, u64),
}

/// Floods a receiver for so many seconds with so many datagrams a second, while it plays a file.
pub fn run(ear: Ear, per_second: u64, seconds: u64, seed: u64) -> Figures {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, take) = (folder.path().join("source.wav"), folder.path().join("take.wav"));
    // The flood begins when the stream plays, and ends before it.
    let sound = Sound::ramp(1, RATE, RATE as usize * (seconds as usize + 4));
    sound.write(&source);
    let sink = if ear == Ear::File { take.to_str().expect("a path") } else { "virtual" };
    let usual = ["--playback", sink, "--latency", "100ms", "--status-interval", "100ms"];
    let (mut receiver, address) = Program::receiver(&usual);
    let described = folder.path().join("described");
    let client = format!("a={address}/0");
    let sender = Program::start(
        "sender",
        &[
            "--capture",
            source.to_str().expect("a path"),
            "--client",
            &client,
            "--sdp",
            described.to_str().expect("a path"),
        ],
    );
    let calm = receiver.wait_until("status", |status| status["packets"].as_u64() > Some(300));
    let before = receiver.resident();
    let datagrams = datagrams(own_source(&described.join("a.sdp")), &mut Random::new(seed));
    let began = Instant::now();
    let flood = pour(address, &datagrams, per_second, Duration::from_secs(seconds));
    let took = began.elapsed().as_secs_f64();
    let after = receiver.resident();
    receiver.wait_for("ended");
    let sent = sender.wait(Duration::from_secs(30));
    receiver.wait_until("status", |status| status["depth_frames"] == 0);
    // While its socket is open, and nothing comes any more.
    let dropped = dropped(address.port());
    let ended = receiver.interrupt();
    let (sent, summary) = (sent.last("summary"), ended.last("summary"));
    let count = |name: &str| summary[name].as_u64().unwrap_or(0);
    let refused = summary["rejected"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64());
    let named = ["accepted", "copies", "unproven", "conflicts", "unwelcome"].map(count);
    // While the stream went on.
    let playing = |event: &&Value| event["type"] == "status" && !event["stream"].is_null();
    let over = ended.said.iter().rfind(playing).unwrap_or(&calm);
    let made_up = |status: &Value| {
        let missing = status["playback"]["missing_frames"].as_u64();
        status["concealed_frames"].as_u64().zip(missing).map_or(0, |(concealed, missing)| concealed + missing)
    };
    let wrong = match ear {
        Ear::File => differing(&Sound::read(&take).samples, &sound.samples),
        Ear::Card => made_up(over) - made_up(&calm),
    };
    Figures {
        flood,
        per_second: flood as f64 / took,
        sent: sent["datagrams"].as_u64().unwrap_or(0) - sent["unsent"].as_u64().unwrap_or(0),
        dropped,
        received: count("datagrams"),
        accounted: named.iter().sum::<u64>() + refused.sum::<u64>(),
        packet: PACKET,
        samples: sound.samples.len() as u64,
        wrong,
        lost: count("lost"),
        streams: count("streams"),
        resident: (before, after),
    }
}

/// Samples that are others, or not there.
fn differing(heard: &[i16], sent: &[i16]) -> u64 {
    let others = heard.iter().zip(sent).filter(|(heard, sent)| heard != sent).count();
    (others + heard.len().abs_diff(sent.len())) as u64
}

/// Sends them at an even pace. Returns how many the system took.
fn pour(to: SocketAddr, datagrams: &[Vec<u8>], per_second: u64, length: Duration) -> u64 {
    // One of them on the sender's machine, as far as the receiver can tell.
    let own = |n| Socket::bind(([127, 0, 0, n], 0).into()).expect("a socket");
    let sockets: Vec<_> = (1..=SOCKETS).map(own).collect();
    let mut outbox = Outbox::default();
    let (mut sent, mut unsent) = (0u64, 0u64);
    let began = Instant::now();
    while began.elapsed() < length {
        let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
        let socket = &sockets[sent as usize / BATCH as usize % sockets.len()];
        let last = due.min(sent + BATCH);
        for number in sent..last {
            let datagram = &datagrams[number as usize % datagrams.len()];
            outbox.push(socket, datagram, std::iter::once(to), |_| unsent += 1);
        }
        sent = sent.max(last);
        outbox.flush(socket, |_| unsent += 1);
        if sent >= due {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    sent - unsent
}

/// The source of the stream that is played, which is written where who floods should not read it: the worst that one can know.
fn own_source(description: &Path) -> u32 {
    let text = std::fs::read_to_string(description).expect("a description");
    let origin = text.lines().find_map(|line| line.strip_prefix("o=- ")).expect("an origin");
    origin.split(' ').next().and_then(|word| word.parse().ok()).expect("a source")
}

/// Noise, RTP and RTCP of other sources and of this one, questions of STUN, and the beginnings of all of them.
fn datagrams(own: u32, random: &mut Random) -> Vec<Vec<u8>> {
    (0..KINDS).map(|kind| datagram(kind % 7, own, random)).collect()
}

fn datagram(kind: usize, own: u32, random: &mut Random) -> Vec<u8> {
    let mut noise = |length: usize| (0..length).map(|_| random.bits() as u8).collect::<Vec<u8>>();
    match kind {
        0 => {
            let length = usize::from(noise(1)[0]) * LONGEST / 256;
            noise(length)
        }
        1 | 2 => {
            let random = noise(10);
            let header = Header {
                marker: false,
                payload_type: payload_type::L16_MONO,
                sequence: Sequence(u16::from_be_bytes([random[0], random[1]])),
                timestamp: RtpTime(u32::from_be_bytes([random[2], random[3], random[4], random[5]])),
                ssrc: if kind == 1 {
                    u32::from_be_bytes([random[6], random[7], random[8], random[9]])
                } else {
                    own
                },
            };
            [&header.to_bytes()[..], &noise(256)].concat()
        }
        3 | 4 => {
            let ssrc = if kind == 3 { u32::from_be_bytes([9; 4]) } else { own };
            let mut out = [0; 256];
            let mut builder = rtcp::Builder::new(&mut out);
            builder.receiver_report(ssrc, None);
            builder.description(ssrc, "flood");
            builder.bye(ssrc);
            let length = builder.finish().expect("there is room");
            out[..length].to_vec()
        }
        // A binding request (RFC 8489).
        5 => [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &noise(12)].concat(),
        _ => {
            let length = usize::from(noise(1)[0] % 12);
            [&[0x80, payload_type::L16_MONO][..], &noise(10)].concat()[..length].to_vec()
        }
    }
}

/// Datagrams that had no room in the sockets at a port, as the system counts them.
fn dropped(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").expect("the system's table");
    let ours = |line: &&str| {
        let local = line.split_whitespace().nth(1).and_then(|address| address.rsplit(':').next());
        local.is_some_and(|number| u16::from_str_radix(number, 16) == Ok(port))
    };
    table.lines().filter(ours).filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}
