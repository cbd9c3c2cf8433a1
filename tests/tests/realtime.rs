//! Nothing allocates or frees on the real-time paths once sound flows: both callbacks, the send thread and the receive
//! thread, with every wire format, through changes of the list, loss, and a second sender.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use audio::opus::{self, Decoder, Encoder, Spec};
use audio::receive::Config;
use audio::resample::Chunked;
use control::client::Client;
use control::codec::{Codec, OpusOptions};
use device::capture::{self, Source};
use device::playback::{self, Sink};
use os::udp::Socket;
use receiver::Receiver;
use sender::Sender;
use sender::args::Settings;
use sender::book::Book;
use sender::packets::Packets;

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

/// The tests share the counter, so they run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn offences_during(body: impl FnOnce()) -> u64 {
    let before = OFFENCES.load(Ordering::Relaxed);
    ARMED.store(true, Ordering::Relaxed);
    body();
    ARMED.store(false, Ordering::Relaxed);
    OFFENCES.load(Ordering::Relaxed) - before
}

fn start_receiver(sink: &str, steered: bool) -> (Receiver, SocketAddr) {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let config = Config {
        wire: None,
        latency: 30_000_000,
        adapt: None,
        format: None,
        plain_rate: 44_100,
        plain_channels: 1,
        cname: "receiver".into(),
        ssrc: 1,
    };
    let mut receiver = Receiver::start(socket, config).unwrap();
    play(&mut receiver, sink, steered);
    (receiver, address)
}

fn play(receiver: &mut Receiver, sink: &str, steered: bool) {
    let sink: Sink = sink.parse().unwrap();
    let request = playback::Request { sink, rate: 44_100, channels: 2, period: 128 };
    receiver.play_to(&request, None, steered).unwrap();
}

struct Streaming {
    sender: Sender,
    book: Book,
}

fn start_sender(clients: &[Client]) -> Streaming {
    let packets = Packets::new(&Settings::default()).unwrap();
    let source: Source = "virtual:ppm=100,jitter=0.2".parse().unwrap();
    let request =
        capture::Request { source, rate: 44_100, channels: Some(4), wanted: 4, period: 128, repeat: false };
    let capture = capture::open(&request).unwrap();
    let mut book = Book::new(packets, (44_100, 4), "test".into(), None);
    let (routing, problems) = book.update(clients);
    assert!(problems.is_empty(), "{problems:?}");
    Streaming { sender: Sender::start(capture, routing, None).unwrap(), book }
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
    let _alone = ONE_AT_A_TIME.lock().unwrap();
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
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    for channels in [1u16, 2, 5] {
        let spec = Spec { expected_loss: 10, ..Spec::default() };
        let mut encoder = Encoder::new(channels, &spec).unwrap();
        let mut decoder = Decoder::new(channels).unwrap();
        let mut chunked = Chunked::new(channels, 240, 44_100, opus::RATE);
        let (mut pcm, mut packet) = (vec![0.0; 240 * usize::from(channels)], vec![0; 1400]);
        let found = offences_during(|| {
            let _section = os::realtime::section();
            for round in 0..50u8 {
                while chunked.wanted() > 0 {
                    chunked.push(100.min(chunked.wanted()), |room| room.fill(f32::from(round) / 100.0));
                }
                assert!(chunked.pull(&mut pcm));
                let length = encoder.encode(&pcm, &mut packet).unwrap();
                match round % 5 {
                    0 => decoder.conceal(240, &mut pcm),
                    1 => decoder.recover(&packet[..length], 240, &mut pcm),
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
}

#[test]
fn steady_streams_allocate_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let (steered, steered_at) = start_receiver("virtual:ppm=-200", true);
    let (plain, plain_at) = start_receiver("virtual", false);
    let (file, file_at) = start_receiver("null", false);
    let mut headerless = client(format!("plain={plain_at}/3"));
    headerless.wire = Some(audio::send::Wire::Plain);
    // Nobody listens there.
    let coded = |text: &str, codec| Client { codec: Some(codec), ..client(text.into()) };
    let clients = [
        client(format!("a={steered_at}/0,1+2")),
        headerless,
        client(format!("b={file_at}/1")),
        coded("c=127.0.0.1:9/0,1", Codec::Pcm24),
        coded("d=127.0.0.1:10/0,1", Codec::Opus(OpusOptions::default())),
    ];
    let streaming = start_sender(&clients);
    let frames = |receiver: &Receiver| receiver.counters.frames.get();
    wait_for("sound everywhere", || {
        [&steered, &plain, &file].iter().all(|receiver| frames(receiver) > 44_100)
    });
    let before = frames(&steered);
    let found = offences_during(|| wait_for("three seconds", || frames(&steered) > before + 3 * 44_100));
    assert_eq!(found, 0);
    assert!(streaming.sender.counters.datagrams.get() > 1000);
    assert!(plain.counters.packets.get() > 50 && file.counters.packets.get() > 500);
}

#[test]
fn changes_loss_and_strangers_allocate_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let (mut receiver, address) = start_receiver("virtual:xrun=0.5", true);
    let (other, other_at) = start_receiver("null", false);
    let mut streaming = start_sender(&[client(format!("a={address}/0"))]);
    wait_for("sound", || receiver.counters.frames.get() > 44_100);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Built outside the sections, by the control thread, as in the program.
    let mut routings = Vec::new();
    for round in 0..10 {
        let mut clients = vec![client(format!("a={address}/{}", round % 3))];
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
}
