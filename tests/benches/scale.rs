//! Many receivers: what the send thread has to do for hundreds of clients, and for hundreds who listen to one group.
//!
//! `tests/scale` runs it. `SCALE_SECONDS` says how long each part is measured, 60 by itself.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use audio::exchange::PeerClock;
use os::clock;
use os::multicast;
use os::udp::{Inbox, Outbox, Socket};
use os::wait;
use proto::announce::{self, Announcement, Pace};
use proto::exchange::{self, Reply, Request};
use proto::playout::{self, Playout};
use proto::rtcp::{self, Builder, ReportBlock};
use proto::units::Mono;
use serde_json::{Value, json};
use tests::hosts::{Hosts, interface};
use tests::program::{Program, number};

const CLIENTS: usize = 500;
/// 5 ms at 44.1 kHz, of one channel: RTP header and samples of 16 bits.
const FRAMES: u32 = 220;
const OCTETS: usize = 12 + 2 * FRAMES as usize;
const RATE: u32 = 44_100;
const GROUP: &str = "239.77.1.9:5004";
/// Time that the programs get before they are measured.
const SETTLE: Duration = Duration::from_secs(12);

fn seconds() -> u64 {
    number("SCALE_SECONDS", 60)
}

/// Nanoseconds of processor time that this thread has used.
fn own_time() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Seconds of processor time that a program's thread of this name has used.
fn thread_time(process: u32, name: &str) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let thread = tasks
        .flatten()
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let times = std::fs::read_to_string(thread.expect("it has such a thread").join("schedstat"));
    let nanos = times.ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.expect("Linux tells the time of threads") / 1e9
}

/// The bare loop: as many packets as often, in batches, and nothing else. Its share of a core.
fn bare(to: &[SocketAddr], seconds: u64) -> f64 {
    let (to, lasts) = (to.to_vec(), Duration::from_secs(seconds));
    let thread = std::thread::spawn(move || {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut outbox = Outbox::default();
        let tick = Duration::from_nanos(u64::from(FRAMES) * 1_000_000_000 / u64::from(RATE));
        let (start, used) = (Instant::now(), own_time());
        let mut next = start;
        while start.elapsed() < lasts {
            let packet = [7; OCTETS];
            for address in &to {
                outbox.push(&socket, &packet, std::iter::once(*address), |_| {});
            }
            outbox.flush(&socket, |_| {});
            next += tick;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        (own_time() - used) as f64 / 1e9 / start.elapsed().as_secs_f64()
    });
    thread.join().unwrap()
}

/// What a receiver says: a question about the clock, or a report.
fn question(request: &Request, out: &mut [u8]) -> usize {
    let mut builder = Builder::new(out);
    builder.receiver_report(9, None);
    builder.application(9, exchange::APP_NAME, exchange::REQUEST, &request.to_bytes());
    builder.finish().unwrap()
}

fn report(ssrc: u32, out: &mut [u8]) -> usize {
    let mut builder = Builder::new(out);
    builder.receiver_report(9, Some(&ReportBlock { ssrc, ..ReportBlock::default() }));
    builder.description(9, "0123456789abcdef@receiver");
    builder.application(9, playout::APP_NAME, 0, &Playout::default().to_bytes());
    builder.finish().unwrap()
}

/// Clients that ask four times a second and do not look at what they get, until told to stop.
fn clients(sockets: &[UdpSocket], stop: &AtomicBool) {
    let mut octets = [0; 256];
    let mut sender = None;
    while !stop.load(Ordering::Acquire) {
        let round = Instant::now();
        for socket in sockets {
            if sender.is_none() {
                sender = socket.recv_from(&mut octets).ok().map(|(_, from)| from);
            }
            let Some(sender) = sender else { break };
            let length =
                question(&Request { written: clock::now(), wanted_us: 30_000, media: 0 }, &mut octets);
            let _ = socket.send_to(&octets[..length], sender);
            std::thread::sleep(Duration::from_micros(400));
        }
        std::thread::sleep(Duration::from_millis(250).saturating_sub(round.elapsed()));
    }
}

/// Hundreds of clients, each with a sound of its own.
fn unicast(folder: &Path) {
    let sockets: Vec<_> = (0..CLIENTS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for socket in &sockets {
        socket.set_nonblocking(true).unwrap();
    }
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let entry = |(n, address): (usize, &SocketAddr)| {
        // No two hear the same: more than 255 channels cannot be captured, so half of them are inverted.
        let client =
            json!({ "ip": "127.0.0.1", "port": address.port(), "channel": n % 250, "invert": n >= 250 });
        (format!("{n}"), client)
    };
    let list: serde_json::Map<_, _> = addresses.iter().enumerate().map(entry).collect();
    let path = folder.join("clients.json");
    std::fs::write(&path, Value::from(list).to_string()).unwrap();
    let loops = seconds().min(20);
    let before = bare(&addresses, loops);
    let frames = FRAMES.to_string();
    let arguments = ["--capture", "virtual", "--channels", "250", "--clients", path.to_str().unwrap()];
    let more = ["--frames", &frames, "--period", &frames, "--status-interval", "500ms"];
    let mut sender = Program::start("sender", &[&arguments[..], &more].concat());
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let stop = stop.clone();
        std::thread::spawn(move || clients(&sockets, &stop))
    };
    std::thread::sleep(SETTLE);
    let mark = |sender: &mut Program| {
        while sender.poll().is_some() {}
        (sender.wait_for("status"), thread_time(sender.id(), "send"), Instant::now())
    };
    let (first, used, start) = mark(&mut sender);
    std::thread::sleep(Duration::from_secs(seconds()));
    let (last, used_at_end, end) = mark(&mut sender);
    let lasted = (end - start).as_secs_f64();
    let ours = (used_at_end - used) / lasted;
    drop(sender);
    stop.store(true, Ordering::Release);
    asking.join().unwrap();
    let after = bare(&addresses, loops);
    let count = |name: &str| (last[name].as_u64().unwrap() - first[name].as_u64().unwrap()) as f64;
    let mean = (before + after) / 2.0;
    println!("{CLIENTS} clients, a sound each, packets of 5 ms, {lasted:.0} s:");
    println!(
        "  send thread {:.1} % of a core, bare sendmmsg {:.1} % ({:.1}, {:.1}): ratio {:.2}",
        ours * 1e2,
        mean * 1e2,
        before * 1e2,
        after * 1e2,
        ours / mean
    );
    println!(
        "  {:.0} datagrams a second in {:.0} calls, {} refused",
        count("datagrams") / lasted,
        count("send_calls") / lasted,
        count("unsent")
    );
    println!(
        "  {} of {} ticks late ({:.3} %)",
        count("late_blocks"),
        count("blocks"),
        count("late_blocks") / count("blocks") * 1e2
    );
}

/// Receivers as far as the sender sees them: each reports and asks as often as the sender wants it to.
struct Listener {
    socket: Socket,
    clock: PeerClock,
    next_report: Mono,
}

/// What all of them go by.
struct Heard {
    sender: Option<(SocketAddr, u32)>,
    pace: Option<Pace>,
}

/// So many listeners in one program, on another host. A line of JSON for each second: what they said.
fn listen(count: usize) {
    let (ear, mut membership) =
        multicast::listen(GROUP.parse().unwrap(), Vec::new(), vec![interface(0)]).unwrap();
    membership.refresh().unwrap();
    let mut listeners: Vec<_> = (0..count)
        .map(|n| Listener {
            socket: Socket::bind("0.0.0.0:0".parse().unwrap()).unwrap(),
            clock: PeerClock::new(n as u32 + 1),
            next_report: clock::now(),
        })
        .collect();
    let (_waker, wakeup) = wait::pair().unwrap();
    let ears = [ear];
    let (mut inbox, mut octets) = (Inbox::default(), [0; 256]);
    let mut heard = Heard { sender: None, pace: None };
    let (mut reports, mut questions, mut second) = (0, 0, Instant::now());
    let mut random = 1u32;
    loop {
        wakeup.wait(&ears, Duration::from_millis(5));
        inbox.receive(&ears[0], |_, from, datagram| heard.note(from, datagram));
        let Some((sender, ssrc)) = heard.sender else { continue };
        for listener in &mut listeners {
            let (now, peer) = (clock::now(), &mut listener.clock);
            inbox.receive(&listener.socket, |at, _, datagram| {
                for packet in rtcp::packets(datagram).map_while(Result::ok) {
                    if let rtcp::Packet::Application { name: exchange::APP_NAME, body, .. } = packet {
                        peer.handle_reply(at, &Reply::parse(body).unwrap());
                    }
                }
            });
            peer.pace(heard.pace.map(|pace| i64::from(pace.question_ms) * 1_000_000));
            if let Some(request) = peer.poll_request(now, 30_000, ssrc) {
                questions += 1;
                let length = question(&request, &mut octets);
                listener.socket.send(&octets[..length], sender);
            }
            if now >= listener.next_report {
                reports += 1;
                let interval = heard.pace.map_or(1000, |pace| i64::from(pace.report_ms)) * 1_000_000;
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                listener.next_report = now
                    .plus(interval / 2 + (interval as f64 * f64::from(random) / f64::from(u32::MAX)) as i64);
                let length = report(ssrc, &mut octets);
                listener.socket.send(&octets[..length], sender);
            }
        }
        if second.elapsed() >= Duration::from_secs(1) {
            let ready = listeners.iter().filter(|listener| listener.clock.ready()).count();
            println!(
                "{}",
                json!({ "type": "said", "reports": reports, "questions": questions, "ready": ready })
            );
            if std::io::stdout().flush().is_err() {
                return;
            }
            second = Instant::now();
        }
    }
}

impl Heard {
    fn note(&mut self, from: SocketAddr, datagram: &[u8]) {
        if !proto::rtp::is_rtcp(datagram) {
            return;
        }
        for packet in rtcp::packets(datagram).map_while(Result::ok) {
            if let rtcp::Packet::Application { name: announce::APP_NAME, ssrc, body, .. } = packet {
                self.sender = Some((from, ssrc));
                self.pace = Announcement::parse(body).unwrap().pace;
            }
        }
    }
}

/// One stream of sixteen channels, and so many listeners.
fn multicast(hosts: &Hosts, count: usize) {
    let mut command = hosts.command(1, &std::env::current_exe().unwrap());
    command.env("SCALE_LISTENERS", count.to_string());
    let mut listeners = Program::spawn(command);
    let channels: Vec<_> = (0..16).map(|n: u16| n.to_string()).collect();
    let client = format!("all={GROUP}/{}", channels.join(","));
    let wire = interface(0);
    let arguments = ["--capture", "virtual", "--channels", "16", "--client", &client, "--interface", &wire];
    let mut sender = hosts.start(0, "sender", &[&arguments[..], &["--status-interval", "500ms"]].concat());
    std::thread::sleep(SETTLE);
    let mut mark = || {
        while sender.poll().is_some() {}
        while listeners.poll().is_some() {}
        let status = sender.wait_for("status");
        (status, listeners.wait_for("said"), thread_time(sender.id(), "send"), Instant::now())
    };
    let first = mark();
    std::thread::sleep(Duration::from_secs(seconds().min(30)));
    let last = mark();
    let lasted = (last.3 - first.3).as_secs_f64();
    let sent =
        |name: &str| (last.0[name].as_u64().unwrap() - first.0[name].as_u64().unwrap()) as f64 / lasted;
    let said =
        |name: &str| (last.1[name].as_u64().unwrap() - first.1[name].as_u64().unwrap()) as f64 / lasted;
    println!(
        "| {count} | {} | {:.0} | {:.0} | {:.1} | {:.1} | {:.2} |",
        last.0["clients"][0]["listeners"],
        sent("datagrams"),
        sent("send_calls"),
        said("reports"),
        said("questions"),
        (last.2 - first.2) / lasted * 1e2,
    );
    assert_eq!(last.1["ready"], count, "all of them know the sender's clock");
}

fn main() {
    if let Some(count) = std::env::var("SCALE_LISTENERS").ok().and_then(|text| text.parse().ok()) {
        return listen(count);
    }
    let folder = tempfile::tempdir().unwrap();
    unicast(folder.path());
    let Some(hosts) = Hosts::make(2, 1) else { return };
    println!(
        "| listeners | known | datagrams sent a second | in calls | reports a second | questions a second | send thread, % of a core |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for count in [1, 10, 50, 200] {
        multicast(&hosts, count);
    }
}
