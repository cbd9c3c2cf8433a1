//! What serving costs, and how soon a client has its first picture. Measurements: run them by name, on a quiet machine, with `--release`.

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nvenc_bridge::encode::Codec;
use nvenc_bridge::rtp::{Access, Format};
use nvenc_bridge::serve::{Server, Settings, Stream};

use super::bad::picture;
use super::canned::now;
use super::client::Client;
use super::{server, settings};

/// 4 Mb/s at 30 pictures a second.
const OCTETS: usize = 4_000_000 / 8 / 30;
const SECONDS: u64 = 8;

/// Processor time so far of the threads that make packets and send them.
fn spent() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let its = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm"))
            .is_ok_and(|name| ["rtsp", "feed"].contains(&name.trim()))
    };
    let time = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
    };
    tasks.filter(its).filter_map(time).sum()
}

/// Share of a processor that serving takes, while clients are what `join` makes of a number.
fn share(clients: usize, mut join: impl FnMut(SocketAddr, &Stream)) -> f64 {
    // All of them have one address, which may have a quarter of the connections.
    let server = Server::new(Settings { max_connections: 4 * clients, ..settings() }).unwrap();
    let (stream, mut feeds) = server.mount("hall", vec![Format::Video(Codec::H264)], None).unwrap();
    let mut feed = feeds.remove(0);
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let stream = Arc::new(stream);
    let its = stream.clone();
    let feeder = std::thread::Builder::new().name("feed".into()).spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            let key = its.takes_key();
            feed.send(&Access { data: &picture(key, OCTETS), key, at: now(), frames: 0 });
            std::thread::sleep(Duration::from_nanos(33_333_333));
        }
    });
    let feeder = feeder.unwrap();
    (0..clients).for_each(|_| join(stream.addresses()[0], &stream));
    std::thread::sleep(Duration::from_secs(1));
    let (before, start) = (spent(), Instant::now());
    std::thread::sleep(Duration::from_secs(SECONDS));
    let share = (spent() - before).as_secs_f64() / start.elapsed().as_secs_f64();
    let info = stream.info();
    let lost: u64 = info.clients.iter().map(|client| client.left_out + client.unsent).sum();
    let began = info.clients.iter().filter(|client| client.units > 0).count();
    assert_eq!((began, lost), (clients, 0));
    end.store(true, Ordering::Relaxed);
    feeder.join().unwrap();
    share
}

#[test]
#[ignore = "a measurement"]
fn the_processor_time_of_a_client() {
    for clients in [100, 400] {
        let mut kept = Vec::new();
        let share = share(clients, |server, _| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut client = Client::new(server, "hall");
            client.play_udp(socket.local_addr().unwrap().port());
            kept.push((client, socket));
        });
        let each = 100.0 * share / clients as f64;
        println!("{clients} by UDP: {:.1} % of a core, {each:.4} % each", 100.0 * share);
    }
    for clients in [100, 400] {
        let total = Arc::new(AtomicU64::new(0));
        let mut kept = Vec::new();
        let share = share(clients, |server, _| {
            let mut client = Client::new(server, "hall");
            client.play_interleaved();
            kept.push(client.stream.try_clone().unwrap());
            let total = total.clone();
            std::thread::spawn(move || {
                let mut room = vec![0; 1 << 16];
                while let Ok(count @ 1..) = client.stream.read(&mut room) {
                    total.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
        });
        let each = 100.0 * share / clients as f64;
        println!("{clients} by TCP: {:.1} % of a core, {each:.4} % each", 100.0 * share);
        for stream in &kept {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn the_time_to_the_first_picture() {
    let server = server(None);
    let (stream, mut feeds) = server.mount("hall", vec![Format::Video(Codec::H264)], None).unwrap();
    let mut feed = feeds.remove(0);
    let address = stream.addresses()[0];
    std::thread::spawn(move || {
        loop {
            let key = stream.takes_key();
            feed.send(&Access { data: &picture(key, OCTETS), key, at: now(), frames: 0 });
            std::thread::sleep(Duration::from_nanos(33_333_333));
        }
    });
    let mut times: Vec<_> = (0..50)
        .map(|number| {
            std::thread::sleep(Duration::from_millis(600 + 7 * number % 33));
            let start = Instant::now();
            let mut client = Client::new(address, "hall");
            assert_eq!(client.ask("DESCRIBE", "", "").0, 200);
            client.play_interleaved();
            while client.packet().unwrap()[1] & 0x80 == 0 {}
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("from connecting to the first whole picture: median {:?}, longest {:?}", times[25], times[49]);
}
