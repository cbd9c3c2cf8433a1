//! Nothing allocates or frees on the real-time paths once sound flows: both callbacks, the send thread and the receive
//! thread, with every wire format, through changes of the list, loss, and a second sender. What takes a bad network is
//! shown in virtual time: repair of every kind, the adaptive buffer, concealment, and all codecs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use audio::depth::{Preset, Reason};
use audio::opus::{self, Application, Decoder, Encoder, FrameTime, Spec};
use audio::receive::{Adapt, Config};
use audio::resample::Chunked;
use audio::send::{Codec, Policy, Repair};
use control::client::Client;
use control::codec::{self, OpusOptions};
use control::signal::Signal;
use device::capture::{self, Source};
use device::playback::{self, Sink};
use os::interface;
use os::udp::Socket;
use proto::exchange::{self, Request};
use proto::srtp::FileKey;
use proto::units::Mono;
use proto::{rtcp, timing};
use receiver::{Played, Receiver};
use sender::args::Settings;
use sender::book::Book;
use sender::network::Network;
use sender::packets::Packets;
use sender::tap::{self, Outlet};
use sender::{Party, Sender};
use sim::card::CardSpec;
use sim::clock::ClockSpec;
use sim::link::{Jitter, LinkSpec, Loss};
use tests::program::alone;
use tests::world::{Ear, Outcome, RATE, Receiver as Listener, Scenario, SecondPath, Sound, run};

/// The system's allocator, counting what real-time sections ask of it.
struct Counting;

static ARMED: AtomicBool = AtomicBool::new(false);
static OFFENCES: AtomicU64 = AtomicU64::new(0);

fn note() {
    if ARMED.load(Ordering::Relaxed) && os::realtime::in_section() {
        OFFENCES.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note();
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by tests that are [`alone`]: they share the counter.
fn offences_during(body: impl FnOnce()) -> u64 {
    let before = OFFENCES.load(Ordering::Relaxed);
    ARMED.store(true, Ordering::Relaxed);
    body();
    ARMED.store(false, Ordering::Relaxed);
    OFFENCES.load(Ordering::Relaxed) - before
}

/// A key as it comes from a file.
const KEY: FileKey = FileKey([7; 32]);

fn start_receiver(sink: &str, steered: bool, key: Option<FileKey>) -> (Receiver, SocketAddr) {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (start_with(vec![socket], sink, steered, key), address)
}

/// The first socket is for media.
fn start_with(sockets: Vec<Socket>, sink: &str, steered: bool, key: Option<FileKey>) -> Receiver {
    let config = Config {
        trim: Some(0),
        secret: key.map(|key| control::key::secret(key).unwrap()),
        ..Config::new(30_000_000, "receiver".into(), 1)
    };
    let mut receiver = Receiver::start(sockets, 1, config).unwrap();
    play(&mut receiver, sink, steered);
    receiver
}

fn play(receiver: &mut Receiver, sink: &str, steered: bool) {
    let sink: Sink = sink.parse().unwrap();
    let request = playback::Request { sink, rate: 44_100, channels: 2, period: 128 };
    receiver.play_to(&request, None, &Played { steered, map: None }).unwrap();
}

struct Streaming {
    sender: Sender,
    book: Book,
    outlet: Outlet,
}

fn start_sender(clients: &[Client], key: Option<FileKey>) -> Streaming {
    let file = key.as_ref().map(|_| "read already".into());
    let packets = Packets::new(&Settings { key: file, ..Settings::default() }).unwrap();
    let source: Source = "virtual:ppm=100,jitter=0.2".parse().unwrap();
    let request =
        capture::Request { source, rate: 44_100, channels: Some(4), wanted: 4, period: 128, repeat: false };
    let capture = capture::open(&request).unwrap();
    let mut book = Book::new(packets, (44_100, 4), "test".into(), None).grouped(Some(Policy::Auto(200_000)));
    let (routing, problems) = book.update(clients);
    assert!(problems.is_empty(), "{problems:?}");
    let (tap, outlet) = tap::pair(44_100, 4);
    let party = Party::new(key).unwrap();
    // What is for groups stays on this machine.
    let interfaces = interface::find("lo").into_iter().collect();
    let network = Network { interfaces, ..Network::default() };
    let sender = Sender::start_tapped(capture, routing, &network, party, Some(tap)).unwrap();
    Streaming { sender, book, outlet }
}

fn client(text: String) -> Client {
    text.parse().unwrap()
}

fn wait_for(what: &str, mut fulfilled: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fulfilled() {
        assert!(Instant::now() < deadline, "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_check_itself_finds_an_allocation() {
    let _alone = alone();
    let found = offences_during(|| {
        let _section = os::realtime::section();
        drop(std::hint::black_box(vec![1u8; 100]));
    });
    assert_eq!(found, 2);
    assert_eq!(offences_during(|| drop(std::hint::black_box(vec![1u8; 100]))), 0);
}

/// libopus's own memory is not counted here: it is taken where a codec is created, the rest lies on the stack.
#[test]
fn codecs_and_resamplers_allocate_nothing() {
    let _alone = alone();
    let mut redundant = 0;
    for (channels, spec) in [1u16, 2, 5].into_iter().flat_map(|channels| SPECS.map(|spec| (channels, spec))) {
        let frames = usize::from(spec.frame.frames());
        let mut encoder = Encoder::new(channels, &spec).unwrap();
        let mut decoder = Decoder::new(channels).unwrap();
        let mut chunked = Chunked::new(channels, frames, 44_100, opus::RATE);
        let (mut pcm, mut packet) = (vec![0.0; frames * usize::from(channels)], vec![0; 4000]);
        let mut noise = sim::random::Random::new(1);
        let found = offences_during(|| {
            let _section = os::realtime::section();
            for round in 0..50u8 {
                while chunked.wanted() > 0 {
                    let fill = |room: &mut [f32]| room.fill_with(|| 0.1 * noise.normal() as f32);
                    chunked.push(100.min(chunked.wanted()), fill);
                }
                assert!(chunked.pull(&mut pcm));
                let length = encoder.encode(&pcm, &mut packet).unwrap();
                redundant += u32::from(opus::has_redundancy(&packet[..length]));
                match round % 5 {
                    0 => decoder.conceal(frames, &mut pcm),
                    1 => decoder.recover(&packet[..length], frames, &mut pcm),
                    2 => decoder.decode(&[round; 30], &mut pcm),
                    _ => decoder.decode(&packet[..length], &mut pcm),
                };
            }
            chunked.reset();
            encoder.reset();
            decoder.reset();
        });
        assert_eq!(found, 0, "{channels} channels");
    }
    assert!(redundant > 20, "{redundant} packets with in-band FEC");
}

/// What a bad network brings about in virtual time: a name, what is simulated, and whether it came about.
type Case = (&'static str, Scenario, fn(&Outcome) -> bool);

const MS: i64 = 1_000_000;
/// The usual settings, and those that carry in-band FEC.
const SPECS: [Spec; 2] = [
    Spec {
        frame: FrameTime::Ms5,
        bitrate: None,
        complexity: 5,
        application: Application::LowDelay,
        rate_control: opus::RateControl::ConstrainedVbr,
        expected_loss: 10,
    },
    Spec {
        frame: FrameTime::Ms20,
        bitrate: Some(24_000),
        complexity: 5,
        application: Application::Voip,
        rate_control: opus::RateControl::ConstrainedVbr,
        expected_loss: 20,
    },
];

/// A path with a round trip of 3 to 4 ms, and one of 120.
fn near(loss: Loss) -> LinkSpec {
    LinkSpec { loss, delay: 1_500_000, jitter: Jitter::Uniform { most: 500_000 }, ..LinkSpec::default() }
}

fn far(loss: Loss) -> LinkSpec {
    LinkSpec { delay: 60 * MS, ..near(loss) }
}

fn cases() -> Vec<Case> {
    const SOME: Loss = Loss::Random(0.05);
    const BURSTS: Loss = Loss::Gilbert { share: 0.1, burst: 4.0 };
    let spec = CardSpec { ppm: 100.0, jitter: 100_000, ..CardSpec::default() };
    let card = Listener { ear: Ear::Card(spec, 128), latency: 40 * MS, ..Listener::default() };
    let base = Scenario { seconds: 20.0, ..Scenario::default() };
    let heard_by = |receiver: Listener, repair: &str| Scenario {
        repair: repair.parse().expect("a kind of repair"),
        ..base.heard_by(receiver)
    };
    let over = |link: LinkSpec, repair: &str| heard_by(card.over(link), repair);
    let opus = |spec| Listener { codec: Codec::Opus(spec), ..card.over(near(BURSTS)) };
    let tone = |receiver: Listener, repair: &str| Scenario {
        sound: Sound::Tone(300.0),
        ..heard_by(receiver, repair)
    };
    let rate = |card_rate| tone(Listener { card_rate, ..card.over(near(SOME)) }, "auto");
    let stall = LinkSpec { delay: 60 * MS, in_order: true, ..near(Loss::None) };
    let calm = LinkSpec { in_order: true, ..near(Loss::None) };
    let (auto, more) = (Repair::default(), "8+3x2".parse().expect("a kind of repair"));
    vec![
        ("requests", over(near(SOME), "request"), |o| {
            o.counters.retransmitted.get() > 100 && o.client.resent.get() > 100
        }),
        (
            "a card that goes ahead",
            heard_by(Listener { ear: Ear::DeepCard(spec, 128), ..card.over(near(SOME)) }, "request"),
            |o| o.counters.retransmitted.get() > 100,
        ),
        ("too many requests", over(near(Loss::Random(0.6)), "request"), |o| o.client.refused.get() > 0),
        (
            "parity as it is needed",
            heard_by(Listener { latency: 100 * MS, ..card.over(far(BURSTS)) }, "auto"),
            |o| o.client.parity.get() > 100 && o.counters.rebuilt.get() > 20,
        ),
        ("duplicates", over(far(SOME), "duplicate"), |o| o.counters.rebuilt.get() > 100),
        ("rows of parity", over(far(BURSTS), "8+3x2"), |o| o.counters.rebuilt.get() > 100),
        (
            "rows of parity to a file",
            heard_by(Listener { ear: Ear::File, ..card.over(far(BURSTS)) }, "8+3x2"),
            |o| o.counters.rebuilt.get() > 100,
        ),
        ("concealment", over(near(BURSTS), "off"), |o| o.counters.concealed_frames.get() > 10_000),
        (
            "an adaptive buffer",
            Scenario {
                seconds: 60.0,
                ..base.heard_by(Listener {
                    forward: vec![
                        (0.0, calm),
                        (10.0, stall),
                        (10.003, calm),
                        (12.0, near(SOME)),
                        (20.0, calm),
                    ],
                    blackouts: vec![(30.0, 30.08)],
                    latency: 10 * MS,
                    adapt: Some(Adapt { preset: Preset::Live, least: 0, most: 250 * MS }),
                    ..card.clone()
                })
            },
            |o| [Reason::RanDry, Reason::Calm].iter().all(|r| o.changes.iter().any(|(_, l)| l.reason == *r)),
        ),
        ("24 bits", heard_by(Listener { codec: Codec::Pcm24, ..card.over(near(SOME)) }, "8+3x2"), |o| {
            o.counters.rebuilt.get() + o.counters.retransmitted.get() > 100
        }),
        ("Opus and its own concealment", tone(opus(SPECS[0]), "off"), |o| o.counters.lost.get() > 100),
        ("Opus with in-band FEC", tone(opus(SPECS[1]), "off"), |o| o.counters.lost.get() > 20),
        ("Opus to a file", tone(Listener { ear: Ear::File, ..opus(SPECS[0]) }, "off"), |o| {
            o.counters.lost.get() > 100
        }),
        ("Opus, repaired", tone(opus(SPECS[0]), "auto"), |o| o.counters.retransmitted.get() > 100),
        ("a card of 48 kHz", rate(48_000), |o| o.counters.retransmitted.get() > 100),
        ("a card of 96 kHz", rate(96_000), |o| o.counters.retransmitted.get() > 100),
        ("a card of 22 kHz", rate(22_050), |o| o.counters.retransmitted.get() > 100),
        (
            "in time with others",
            Scenario {
                delay: Some(Policy::Auto(200_000)),
                receivers: vec![
                    Listener {
                        trim: Some(0),
                        clock: ClockSpec {
                            ppm: 60.0,
                            steps: vec![(15_000 * MS, 40 * MS)],
                            ..ClockSpec::default()
                        },
                        blackouts: vec![(5.0, 5.5)],
                        ..card.over(near(SOME))
                    },
                    Listener {
                        trim: Some(-2 * MS),
                        latency: 60 * MS,
                        away: vec![(0.0, 8.0)],
                        ..opus(SPECS[0])
                    },
                ],
                ..base.clone()
            },
            |o| o.client.synced.get() == 1 && o.group.delay_us.get() > 60_000,
        ),
        (
            "two paths, of which either falls silent",
            heard_by(
                Listener {
                    second: Some(SecondPath { link: far(SOME), blackouts: vec![(12.0, 15.0)] }),
                    blackouts: vec![(5.0, 8.0)],
                    latency: 100 * MS,
                    ..card.over(near(SOME))
                },
                "auto",
            ),
            |o| o.counters.paths.iter().all(|path| path.lost.get() > 1000) && o.counters.copies.get() > 1000,
        ),
        (
            "other routings while packets are asked for",
            Scenario {
                routings: (1..190)
                    .map(|n| (f64::from(n) * 0.1, if n % 5 == 0 { more } else { auto }))
                    .collect(),
                ..over(near(SOME), "auto")
            },
            |o| o.counters.retransmitted.get() > 100,
        ),
    ]
}

#[test]
fn bad_networks_allocate_nothing() {
    let _alone = alone();
    for (name, scenario, came_about) in cases() {
        let mut outcome = None;
        let found = offences_during(|| outcome = Some(run(&scenario, 1)));
        let outcome = outcome.expect("it was run");
        assert_eq!(found, 0, "{name}");
        assert!(
            outcome.counters.frames.get() > u64::from(RATE) && came_about(&outcome),
            "{name} did not come about"
        );
    }
}

/// A routing that is freed where the send thread runs is seen, and only that: one at each change.
#[test]
fn the_check_watches_the_pipelines() {
    let _alone = alone();
    let routings = vec![(1.0, Repair::default()), (2.0, Repair::default())];
    let careful = Scenario { seconds: 3.0, routings, ..Scenario::default() };
    let careless = Scenario { careless: true, ..careful.clone() };
    let found = |scenario: &Scenario| offences_during(|| drop(run(scenario, 1)));
    assert_eq!(found(&careful), 0);
    assert!(found(&careless) >= 10);
}

#[test]
fn steady_streams_allocate_nothing() {
    let _alone = alone();
    let (steered, steered_at) = start_receiver("virtual:ppm=-200", true, None);
    let (plain, plain_at) = start_receiver("virtual", false, None);
    let (file, file_at) = start_receiver("null", false, None);
    let mut headerless = client(format!("plain={plain_at}/3"));
    headerless.wire = Some(audio::send::Wire::Plain);
    // Nobody listens there.
    let coded = |text: &str, codec| Client { codec: Some(codec), ..client(text.into()) };
    let clients = [
        client(format!("a={steered_at}/0,1+2")),
        headerless,
        client(format!("b={file_at}/1")),
        coded("c=127.0.0.1:9/0,1", codec::Codec::Pcm24),
        coded("d=127.0.0.1:10/0,1", codec::Codec::Opus(OpusOptions::default())),
    ];
    let streaming = start_sender(&clients, None);
    let frames = |receiver: &Receiver| receiver.counters.frames.get();
    wait_for("sound everywhere", || {
        [&steered, &plain, &file].iter().all(|receiver| frames(receiver) > 44_100)
    });
    let before = frames(&steered);
    let found = offences_during(|| wait_for("three seconds", || frames(&steered) > before + 3 * 44_100));
    assert_eq!(found, 0);
    // By the sender's timing and clock; nothing tells a headerless stream's.
    assert_eq!([&steered, &plain, &file].map(|receiver| receiver.counters.synced.get()), [1, 0, 0]);
    assert!(streaming.sender.counters.datagrams.get() > 1000);
    assert!(plain.counters.packets.get() > 50 && file.counters.packets.get() > 500);
}

#[test]
fn changes_loss_and_strangers_allocate_nothing() {
    change(None);
}

#[test]
fn changes_of_encrypted_streams_allocate_nothing() {
    change(Some(KEY));
}

fn change(key: Option<FileKey>) {
    let _alone = alone();
    let (mut receiver, address) = start_receiver("virtual:xrun=0.5", true, key.clone());
    let (other, other_at) = start_receiver("null", false, key.clone());
    let mut streaming = start_sender(&[client(format!("a={address}/0"))], key);
    wait_for("sound", || receiver.counters.frames.get() > 44_100);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Built outside the sections, by the control thread, as in the program.
    let mut routings = Vec::new();
    for round in 0..10 {
        let mut clients = vec![client(format!("a={address}/{}", round % 3))];
        clients[0].test = [None, Some(Signal::Noise), Some(Signal::Identify)][round % 3];
        // Nobody listens there. The second of each codec shares with the first, leaves it, and goes on changing; the last
        // changes its codec too.
        let opus = codec::Codec::Opus(OpusOptions::default());
        let last = if round % 3 == 2 { codec::Codec::Pcm24 } else { opus };
        let (pcm16, pcm24) = (codec::Codec::Pcm16, codec::Codec::Pcm24);
        for (n, codec) in [pcm16, pcm16, pcm24, pcm24, opus, opus, last].into_iter().enumerate() {
            let channel = if n % 2 == 0 { 0 } else { round / 2 % 3 };
            let other = client(format!("other {n}=127.0.0.1:{}/{channel}", 20 + n));
            clients.push(Client { codec: Some(codec), ..other });
        }
        if round % 2 == 0 {
            clients.push(client(format!("b={other_at}/0+1,2")));
        }
        routings.push(streaming.book.update(&clients).0);
    }
    let found = offences_during(|| {
        for routing in routings {
            let before = receiver.counters.frames.get();
            streaming.sender.route(routing).expect("there is room");
            for garbage in 0..100u8 {
                stranger.send_to(&[garbage; 50], address).unwrap();
            }
            wait_for("the change to be heard", || receiver.counters.frames.get() > before + 8_820);
            // As for a device that went away and came back.
            play(&mut receiver, "virtual:xrun=0.5", true);
        }
    });
    assert_eq!(found, 0);
    assert!(receiver.counters.conflicts.get() >= 900 && receiver.counters.realigned.get() >= 2);
    assert!(other.counters.packets.get() > 100);
    assert!(streaming.outlet.take().is_some());
}

#[test]
#[cfg(target_os = "linux")]
fn encrypted_groups_allocate_nothing() {
    let _alone = alone();
    let group = "239.77.9.10:52191".parse().unwrap();
    let listen = || {
        let (ear, mut membership) = os::multicast::listen(group, Vec::new(), vec!["lo".into()]).unwrap();
        membership.refresh().unwrap();
        let mouth = Socket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        start_with(vec![ear, mouth], "virtual", true, Some(KEY))
    };
    let first = listen();
    let streaming = start_sender(&[client(format!("m={group}/0,1"))], Some(KEY));
    let frames = |receiver: &Receiver| receiver.counters.frames.get();
    wait_for("sound", || frames(&first) > 44_100);
    // One that comes later is met while the stream goes on.
    let mut second = None;
    let found = offences_during(|| {
        let second = second.insert(listen());
        wait_for("the second to hear it", || frames(second) > 2 * 44_100);
    });
    assert_eq!(found, 0);
    assert_eq!(streaming.book.active()[0].counters.listeners.get(), 2);
}

/// Asks what a receiver asks, and counts the answers and the timings that came since the last question.
fn ask(socket: &UdpSocket, wanted_us: u32, media: u32, sender: &mut Option<SocketAddr>) -> (u64, u64) {
    let (mut answers, mut timings, mut octets) = (0, 0, [0; 2048]);
    while let Ok((length, from)) = socket.recv_from(&mut octets) {
        *sender = Some(from);
        if !proto::rtp::is_rtcp(&octets[..length]) {
            continue;
        }
        for packet in rtcp::packets(&octets[..length]).map_while(Result::ok) {
            if let rtcp::Packet::Application { name, .. } = packet {
                answers += u64::from(name == exchange::APP_NAME);
                timings += u64::from(name == timing::APP_NAME);
            }
        }
    }
    if let Some(sender) = sender {
        let mut builder = rtcp::Builder::new(&mut octets);
        builder.receiver_report(1, None);
        let request = Request { written: Mono(1), wanted_us, media };
        builder.application(1, exchange::APP_NAME, exchange::REQUEST, &request.to_bytes());
        let length = builder.finish().expect("there is room");
        socket.send_to(&octets[..length], *sender).unwrap();
    }
    (answers, timings)
}

#[test]
fn groups_allocate_nothing() {
    let _alone = alone();
    let sockets = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
    let mut clients: Vec<_> = sockets
        .iter()
        .zip("abc".chars())
        .map(|(socket, name)| client(format!("{name}={}/0", socket.local_addr().unwrap())))
        .collect();
    clients[1].codec = Some(codec::Codec::Opus(OpusOptions::default()));
    clients[2].group = Some("other".into());
    // A multicast group, which is spoken for by its listeners.
    clients.insert(0, client("m=239.77.9.9:52190/0".into()));
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut streaming = start_sender(&clients, None);
    wait_for("sound", || streaming.sender.counters.frames.get() > 44_100);
    clients.pop();
    let fewer = streaming.book.update(&clients).0;
    let group = streaming.book.active()[0].ssrc;
    let (mut senders, mut counts, mut answered, mut round) = ([None; 3], (0, 0), 0, 0);
    let mut questions = |rounds: u32| {
        let last = round + rounds;
        wait_for("questions", || {
            for (n, (socket, sender)) in (0..).zip(sockets.iter().zip(&mut senders)) {
                // None, every need, and more than is allowed.
                let (answers, timings) = ask(socket, (round + 10 * n) % 30 * 10_000, 0, sender);
                counts = (counts.0 + answers, counts.1 + timings);
            }
            answered += ask(&listener, round % 30 * 10_000, group, &mut senders[0].clone()).0;
            round += 1;
            round >= last
        });
        (counts.0.min(answered), counts.1)
    };
    let found = offences_during(|| {
        questions(200);
        streaming.sender.route(fewer).expect("there is room");
        questions(200);
    });
    assert_eq!(found, 0);
    let (answers, timings) = questions(1);
    assert!(answers > 100 && timings > 100, "{answers} answers, {timings} timings");
    assert!(streaming.book.groups()[0].counters.delay_us.get() > 100_000);
}
