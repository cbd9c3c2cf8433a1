//! What a client hears is changed while it plays: its map, gain, mute, polarity and codec. It hears a crossfade, and nobody
//! else hears anything.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audio::counters::ReceiveCounters;
use audio::receive::{CHUNK, Config, Output, ReceivePipeline};
use audio::send::{Codec, EncodingSpec, Recipients, SendPipeline};
use control::client::Client;
use proptest::prelude::*;
use proto::rtp;
use proto::units::{Mono, RtpTime, frames_to_nanos};
use sender::args::Settings;
use sender::book::Book;
use sender::packets::Packets;
use serde_json::{Value, json};
use tests::figures::sorted;
use tests::program::Program;
use tests::sound::{Sound, assert_same};

const RATE: u32 = 48_000;
const CHANNELS: usize = 3;
/// In captured channel n, all of the time: exact in 16 bits.
const LEVELS: [f32; CHANNELS] = [0.5, -0.25, 0.125];
/// The first of them never changes.
const MAPS: [&str; 5] = ["0", "0", "0", "1", "0+2"];

/// What is done to one client.
#[derive(Clone, Debug)]
enum Change {
    Map(&'static str),
    Gain(f32),
    Mute(bool),
    Invert(bool),
    Codec(u8),
}

impl Change {
    fn apply(&self, client: &mut Client) {
        match *self {
            Self::Map(map) => client.map = map.parse().unwrap(),
            Self::Gain(gain) => client.trim.gain_db = gain,
            Self::Mute(mute) => client.trim.mute = mute,
            Self::Invert(invert) => client.trim.invert = invert,
            Self::Codec(n) => client.codec = codec(n),
        }
    }
}

fn codec(n: u8) -> Option<control::codec::Codec> {
    use control::codec::Codec;
    [None, Some(Codec::Pcm24), Some(Codec::Opus(Default::default()))][usize::from(n) % 3]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => prop::sample::select(vec!["0", "1", "2", "0+1", "0,1"]).prop_map(Change::Map),
        2 => prop::sample::select(vec![0.0, -6.0, 3.0]).prop_map(Change::Gain),
        2 => any::<bool>().prop_map(Change::Mute),
        1 => any::<bool>().prop_map(Change::Invert),
        1 => (0u8..3).prop_map(Change::Codec),
    ]
}

fn clients(first: u8) -> Vec<Client> {
    let client = |(n, map): (usize, &&str)| format!("c{n}=127.0.0.1:{}/{map}", n + 1).parse().unwrap();
    let mut clients: Vec<Client> = MAPS.iter().enumerate().map(client).collect();
    clients.iter_mut().for_each(|client| client.codec = codec(first));
    clients
}

/// A packet, and the specification of its stream.
type Sent = (rtp::Header, Vec<u8>, EncodingSpec);

struct Sender {
    book: Book,
    send: SendPipeline,
    specs: HashMap<(u16, u32), EncodingSpec>,
    /// What each client was sent.
    sent: Vec<Vec<Sent>>,
    /// The same as datagrams, with reports, since it was looked at last.
    datagrams: Vec<(u16, Vec<u8>)>,
}

impl Sender {
    fn new(clients: &[Client]) -> Self {
        let packets = Packets::new(&Settings::default()).unwrap();
        let book = Book::new(packets, (RATE, CHANNELS as u16), "the test".into(), None);
        let send = SendPipeline::new(RATE, CHANNELS as u16, RtpTime(u32::MAX - 1000), "test".into());
        let sent = vec![Vec::new(); MAPS.len()];
        let mut sender = Self { book, send, specs: HashMap::new(), sent, datagrams: Vec::new() };
        sender.route(clients);
        sender
    }

    fn route(&mut self, clients: &[Client]) {
        let (routing, problems) = self.book.update(clients);
        assert!(problems.is_empty(), "{problems:?}");
        for active in self.book.active() {
            self.specs.insert((active.address.port(), active.ssrc), active.spec.clone());
        }
        drop(self.send.replace(routing));
        self.poll();
    }

    fn block(&mut self, frames: &[f32]) {
        let position = self.send.position();
        let at = Mono(frames_to_nanos(position.0 as i64, RATE));
        self.send.handle_block(position, at, frames);
        self.send.handle_timeout(at);
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(transmit) = self.send.poll_transmit() {
            let clients = match transmit.to {
                Recipients::All(clients) => clients,
                Recipients::One(address) | Recipients::Both(address, _) => {
                    self.datagrams.push((address.port(), transmit.bytes.to_vec()));
                    continue;
                }
            };
            for client in clients {
                self.datagrams.push((client.address.port(), transmit.bytes.to_vec()));
                let packet = rtp::Packet::parse(transmit.bytes).unwrap();
                let port = client.address.port();
                let spec = self.specs[&(port, packet.header.ssrc)].clone();
                self.sent[usize::from(port - 1)].push((packet.header, packet.payload.to_vec(), spec));
            }
        }
    }
}

fn samples(payload: &[u8], spec: &EncodingSpec) -> Vec<f32> {
    let octets = if spec.codec() == Codec::Pcm24 { 3 } else { 2 };
    let mut samples = vec![0.0; payload.len() / octets];
    match spec.codec() {
        Codec::Pcm24 => proto::pcm::decode_24(payload, proto::pcm::ByteOrder::Big, &mut samples),
        _ => proto::pcm::decode(payload, proto::pcm::ByteOrder::Big, &mut samples),
    }
    samples
}

/// Numbers and times go on; where PCM is sent, from one codec to the next as well, and no step is heard.
fn check_stream(sent: &[Sent]) {
    let is_opus = |spec: &EncodingSpec| matches!(spec.codec(), Codec::Opus(_));
    let mut last: Option<f32> = None;
    let mut expected: Option<(rtp::Header, u32)> = None;
    for (header, payload, spec) in sent {
        let channels = usize::from(spec.map.channels());
        let heard = if is_opus(spec) { Vec::new() } else { samples(payload, spec) };
        let frames = if is_opus(spec) { spec.packet_frames().into() } else { heard.len() / channels };
        if let Some((before, end)) = expected {
            let gap = header.timestamp.since(RtpTime(end));
            let same = before.ssrc == header.ssrc;
            assert!(!same || before.sequence.next() == header.sequence, "{before:?} {header:?}");
            // What Opus holds back is less than a packet and its lookahead.
            let opus = is_opus(spec) || last.is_none();
            assert!(gap == 0 || !same && opus && gap.abs() < 480, "{gap} frames: {before:?} {header:?}");
        }
        expected = Some((*header, header.timestamp.0.wrapping_add(frames as u32)));
        last = last.filter(|_| !is_opus(spec));
        for sample in heard.iter().step_by(channels) {
            // The loudest there is is 3 dB above 0.75; from there to the other polarity in 240 frames.
            let step = sample - last.unwrap_or(*sample);
            assert!(step.abs() < 2.0 * 1.06 * 1.5 / 240.0, "a step of {step}");
            last = Some(*sample);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever becomes of the others, with whom it shares an encoding or does not: the first client gets the same octets.
    #[test]
    fn whoever_is_not_changed_gets_the_same_octets(
        first in 0u8..3,
        steps in prop::collection::vec((prop::collection::vec(1usize..300, 0..12), 1..MAPS.len(), change()), 1..12),
    ) {
        let mut list = clients(first);
        let (mut changing, mut calm) = (Sender::new(&list), Sender::new(&list));
        for (blocks, client, change) in steps.iter().chain(&[(vec![240; 20], 1, Change::Gain(0.0))]) {
            change.apply(&mut list[*client]);
            changing.route(&list);
            calm.route(&clients(first));
            for frames in blocks {
                // Blocks as large as either takes.
                let frames = (*frames).min(changing.send.max_block()).min(calm.send.max_block());
                changing.block(&LEVELS.repeat(frames));
                calm.block(&LEVELS.repeat(frames));
            }
        }
        let plain = |(header, payload, _): &Sent| (header.timestamp, header.marker, payload.clone());
        let octets = |sender: &Sender| sender.sent[0].iter().map(plain).collect::<Vec<_>>();
        prop_assert!(octets(&changing) == octets(&calm));
        prop_assert!(octets(&calm).len() > 8);
        changing.sent.iter().for_each(|sent| check_stream(sent));
        // In the end all hear what the list says.
        for (sent, client) in changing.sent.iter().zip(&list) {
            let (_, payload, spec) = sent.last().unwrap();
            prop_assert_eq!(&spec.map, &client.map);
            if matches!(spec.codec(), Codec::Opus(_)) {
                continue;
            }
            for (sample, sources) in samples(payload, spec).iter().zip(client.map.outputs().iter().cycle()) {
                let sum: f32 = sources.iter().map(|&source| LEVELS[usize::from(source)]).sum();
                let expected = sum * client.trim.factor();
                prop_assert!((sample - expected).abs() <= 1.0 / 65_536.0, "{sample}, not {expected}");
            }
        }
    }
}

/// Chunks in a second.
const SECOND: usize = RATE as usize / CHUNK;
/// From a packet's arrival to the DAC.
const LATENCY: i64 = 20_000_000;

/// A stream of a tone that is changed each second is played by two speakers. Returns the steepest step from sample to sample,
/// and the longest silence, in frames.
fn play(changes: &[Change]) -> (f32, usize) {
    let mut list = clients(0);
    let mut sender = Sender::new(&list);
    let config = Config { wire: Some(audio::send::Wire::Rtp), ..Config::new(LATENCY, "ear".into(), 1) };
    let mut receive = ReceivePipeline::new(config, Arc::new(ReceiveCounters::default()));
    receive.replace_output(Box::new(Output::device(2, RATE, false)));
    let (mut played, mut out) = (Vec::new(), [0.0; 2 * CHUNK]);
    for n in 0..(1 + changes.len()) * SECOND {
        if let Some(change) = (n % SECOND == 1).then(|| changes.get((n / SECOND).checked_sub(1)?)).flatten() {
            change.apply(&mut list[3]);
            sender.route(&list);
        }
        let tone = |frequency: f32, n: usize| {
            0.4 * (std::f32::consts::TAU * frequency * (n % RATE as usize) as f32 / RATE as f32).sin()
        };
        let frames = (n * CHUNK..(n + 1) * CHUNK).flat_map(|n| [tone(330.0, n), tone(440.0, n), 0.1]);
        sender.block(&frames.collect::<Vec<_>>());
        let now = Mono(frames_to_nanos(((n + 1) * CHUNK) as i64, RATE));
        for (port, datagram) in sender.datagrams.drain(..).filter(|(port, _)| *port == 4) {
            receive.handle_datagram(now, ([127, 0, 0, 1], port).into(), &datagram);
        }
        receive.pull_device(now, now.plus(2_000_000).into(), &mut out);
        played.extend(out);
    }
    let steps = played.windows(3).map(|three| (three[2] - three[0]).abs());
    let steepest = steps.fold(0.0, f32::max);
    let sounding = played.iter().enumerate().skip(RATE as usize).filter(|(_, sample)| sample.abs() > 0.01);
    let sounding: Vec<_> = sounding.map(|(n, _)| n / 2).collect();
    let silence = sounding.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    (steepest, silence)
}

/// A tone of 440 Hz rises by 0.023 from sample to sample, and is near zero for a few of them.
#[test]
fn speakers_play_on_through_other_codecs_and_channels() {
    for (changes, step, silent) in [
        ([Change::Codec(1), Change::Codec(0)], 0.024, 8),
        ([Change::Map("1,1"), Change::Map("1")], 0.024, 8),
        ([Change::Map("1,0"), Change::Map("0")], 0.024, 8),
    ] {
        let (steepest, silence) = play(&changes);
        assert!(steepest < step, "{changes:?}: a step of {steepest}");
        assert!(silence < silent, "{changes:?}: silence of {silence} frames");
    }
}

/// Of the recordings of the programs.
const FILE_RATE: u32 = 44_100;
/// Frames of a crossfade: 5 ms.
const FADE: usize = 220;

/// What a client of the programs hears: a channel, and what it is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Heard(u16, f64);

/// What the client that changes has in the list, one after the other, and what it hears then.
fn entries() -> Vec<(Value, Heard)> {
    vec![
        (json!({ "channel": 0 }), Heard(0, 1.0)),
        (json!({ "channel": 1 }), Heard(1, 1.0)),
        (json!({ "channel": 0, "invert": true }), Heard(0, -1.0)),
        (json!({ "channel": 0, "mute": true }), Heard(0, 0.0)),
        (json!({ "channel": 2 }), Heard(2, 1.0)),
        (json!({ "channel": 2, "gain_db": -6 }), Heard(2, 10f64.powf(-0.3))),
        (json!({ "channel": 0 }), Heard(0, 1.0)),
        (json!({ "channel": 2, "invert": true }), Heard(2, -1.0)),
        (json!({ "channel": 1 }), Heard(1, 1.0)),
        (json!({ "channel": 0 }), Heard(0, 1.0)),
    ]
}

fn entry(address: SocketAddr, what: &Value) -> Value {
    let mut entry = json!({ "ip": address.ip().to_string(), "port": address.port() });
    let fields = what.as_object().unwrap().clone();
    entry.as_object_mut().unwrap().extend(fields);
    entry
}

/// A client that knows at any time which frame is sent.
struct Observer {
    address: SocketAddr,
    newest: Arc<Mutex<Option<(i64, Instant)>>>,
}

impl Observer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let newest = Arc::new(Mutex::new(None));
        let known = newest.clone();
        std::thread::spawn(move || {
            let (mut octets, mut first) = ([0; 2048], None);
            while let Ok(length) = socket.recv(&mut octets) {
                let media = Some(&octets[..length]).filter(|octets| !rtp::is_rtcp(octets));
                let Some(Ok(packet)) = media.map(rtp::Packet::parse) else { continue };
                let first = *first.get_or_insert(packet.header.timestamp);
                let end = i64::from(packet.header.timestamp.since(first)) + packet.payload.len() as i64 / 2;
                *known.lock().unwrap() = Some((end, Instant::now()));
            }
        });
        Self { address, newest }
    }

    fn frame(&self) -> i64 {
        let (end, at) = self.newest.lock().unwrap().expect("it hears something");
        end + (at.elapsed().as_secs_f64() * f64::from(FILE_RATE)) as i64
    }
}

/// What a run leaves behind: recordings, by client, and the frames that were sent when the list was written.
struct Run {
    recordings: [Sound; 3],
    changes: Vec<i64>,
}

/// Streams to a client that changes, one that shares its encoding at first, and one that gets Opus.
fn run(sound: &Sound, folder: &Path, entries: &[(Value, Heard)]) -> Run {
    let (source, list) = (folder.join("source.wav"), folder.join("list.json"));
    sound.write(&source);
    let takes = ["changes", "shares", "opus"].map(|name| folder.join(format!("{name}.wav")));
    let recorders = takes
        .clone()
        .map(|path| Program::receiver(&["--playback", path.to_str().unwrap(), "--exit-after-stream"]));
    let observer = Observer::start();
    let write = |what: &Value| {
        let list_of_all = json!({
            "changes": entry(recorders[0].1, what),
            "shares": entry(recorders[1].1, &json!({ "channel": 0 })),
            "opus": entry(recorders[2].1, &json!({ "channel": 1, "codec": "opus" })),
            "observer": entry(observer.address, &json!({ "channel": 1 })),
        });
        std::fs::write(&list, list_of_all.to_string()).unwrap();
    };
    write(&entries[0].0);
    let arguments = ["--capture", source.to_str().unwrap(), "--clients", list.to_str().unwrap()];
    let mut sender = Program::start("sender", &arguments);
    sender.wait_for("client");
    std::thread::sleep(Duration::from_millis(500));
    let mut changes = Vec::new();
    for (what, _) in &entries[1..] {
        changes.push(observer.frame());
        write(what);
        // Not in step with anything.
        std::thread::sleep(Duration::from_millis(237));
    }
    let ended = sender.wait(Duration::from_secs(20));
    assert!(ended.status.success(), "{}", ended.stderr);
    for (recorder, _) in recorders {
        let summary = recorder.wait(Duration::from_secs(20)).last("summary").clone();
        assert_eq!((&summary["lost"], &summary["streams"]), (&0.into(), &1.into()), "{summary}");
    }
    Run { recordings: takes.map(|path| Sound::read(&path)), changes }
}

fn share(frame: usize) -> f64 {
    let time = frame.min(FADE + 1) as f64 / (FADE + 1) as f64;
    time * time * (3.0 - 2.0 * time)
}

/// Where the change from one to another begins at or after `from`, if all up to the end of the crossfade is as it should be.
fn find_change(sound: &Sound, heard: &[i16], from: usize, (old, new): (Heard, Heard)) -> Option<usize> {
    let level = |Heard(channel, factor): Heard, frame: usize| {
        factor * f64::from(sound.samples[frame * usize::from(sound.channels) + usize::from(channel)])
    };
    let near = |frame: usize, expected: f64| (f64::from(heard[frame]) - expected).abs() < 1.01;
    let differs = (from..heard.len()).find(|&frame| !near(frame, level(old, frame)))?;
    (differs.saturating_sub(FADE).max(from)..=differs).find(|&start| {
        (start..(start + FADE + 200).min(heard.len())).all(|frame| {
            let (old, new) = (level(old, frame), level(new, frame));
            near(frame, old + share(frame - start + 1) * (new - old))
        })
    })
}

/// T17: a change is heard no more than the playout delay and 20 ms after the list was written, as a crossfade of 5 ms; what
/// the other clients get is the same, bit for bit, as without any change.
#[test]
fn a_client_of_the_running_sender_is_changed() {
    let entries = entries();
    let sound = Sound::ramp(3, FILE_RATE, 4 * FILE_RATE as usize);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let changed = run(&sound, folders[0].path(), &entries);
    let calm = run(&sound, folders[1].path(), &entries[..1]);
    let [heard, shares, opus] = &changed.recordings;
    assert_same(&shares.samples, &sound.channel(0), "the one that shares");
    assert_same(&shares.samples, &calm.recordings[1].samples, "the one that shares, and without a change");
    assert_same(&opus.samples, &calm.recordings[2].samples, "Opus, and without a change");
    assert_eq!((heard.channels, heard.frames()), (1, sound.frames()));
    let mut from = 0;
    let mut waits = Vec::new();
    for (pair, written) in entries.windows(2).zip(&changed.changes) {
        let start = find_change(&sound, &heard.samples, from, (pair[0].1, pair[1].1));
        let start =
            start.unwrap_or_else(|| panic!("no crossfade of {:?} from {from} on", [pair[0].1, pair[1].1]));
        waits.push((start as f64 - *written as f64) * 1e3 / f64::from(FILE_RATE));
        from = start + FADE;
    }
    assert_same(&heard.samples[from..], &sound.channel(0)[from..], "after the last change");
    let waits = sorted(waits);
    println!("heard later than the playout delay by, in ms: {waits:.1?}");
    // A machine that does something else for a moment is no fault of the program.
    assert!(waits[waits.len() / 2] <= 20.0, "{waits:?}");
}
