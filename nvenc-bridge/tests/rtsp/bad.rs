//! Clients that are slow, silent, rude or many.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nvenc_bridge::encode::Codec;
use nvenc_bridge::rtp::{Access, Format};
use nvenc_bridge::serve::{Error, Feed, Stream};
use proto::rtcp::{self, Builder, Packet, ReportBlock};

use super::canned::now;
use super::client::{Came, Client};
use super::{becomes, clients, server};

/// A picture of H.264 of so many octets, with parameter sets where it is a key picture.
pub(crate) fn picture(key: bool, octets: usize) -> Vec<u8> {
    let mut data = Vec::new();
    if key {
        data.extend_from_slice(&[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 9, 0, 0, 0, 1, 0x68, 0xce, 9]);
    }
    data.extend_from_slice(&[0, 0, 1, if key { 0x65 } else { 0x41 }]);
    data.resize(data.len() + octets, 0x55);
    data
}

pub(crate) fn send(feed: &mut Feed, key: bool, octets: usize) {
    feed.send(&Access { data: &picture(key, octets), key, at: now(), frames: 0 });
}

/// One stream of H.264 that nobody feeds yet.
fn stage(server: &nvenc_bridge::serve::Server, name: &str) -> (Stream, Feed) {
    let (stream, mut feeds) = server.mount(name, vec![Format::Video(Codec::H264)], None).unwrap();
    (stream, feeds.remove(0))
}

/// Sends pictures as they are wanted until `is`.
fn feed_until(stream: &Stream, feed: &mut Feed, octets: usize, mut is: impl FnMut() -> bool) {
    becomes("it was fed in vain", || {
        send(feed, stream.takes_key(), octets);
        std::thread::sleep(Duration::from_millis(5));
        is()
    });
}

pub(crate) fn kind(packet: &[u8]) -> u8 {
    packet[12] & 0x1f
}

#[test]
fn a_key_picture_is_wanted_when_somebody_comes_and_they_get_nothing_before_it() {
    let server = server(None);
    let (stream, mut feed) = stage(&server, "hall");
    send(&mut feed, true, 100);
    assert!(!stream.takes_key());
    let mut client = Client::new(stream.addresses()[0], "hall");
    client.play_interleaved();
    becomes("no key picture was wanted", || stream.takes_key());
    send(&mut feed, false, 100);
    send(&mut feed, true, 100);
    send(&mut feed, false, 100);
    // The key picture with its parameter sets, and the next one; never the picture before.
    let kinds: Vec<_> = (0..2).map(|_| kind(&client.packet().unwrap())).collect();
    assert_eq!(kinds, [24, 1]);
    assert!(!stream.takes_key());
}

#[test]
fn many_who_come_at_once_share_a_key_picture() {
    let server = server(None);
    let (stream, mut feed) = stage(&server, "hall");
    let mut all: Vec<_> = (0..20).map(|_| Client::new(stream.addresses()[0], "hall")).collect();
    let start = Instant::now();
    all.iter_mut().for_each(Client::play_interleaved);
    let mut wanted = 0;
    let mut served = 0;
    becomes("not all got a picture", || {
        let key = stream.takes_key();
        wanted += usize::from(key);
        send(&mut feed, key, 100);
        std::thread::sleep(Duration::from_millis(10));
        served = stream.info().clients.iter().filter(|client| client.units > 0).count();
        served == all.len()
    });
    // At most two a second.
    let most = 2 + 2 * start.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&wanted), "{wanted} key pictures for {served} clients");
}

#[test]
fn who_does_not_read_loses_pictures_and_disturbs_nobody() {
    let server = server(None);
    let (stream, mut feed) = stage(&server, "hall");
    let address = stream.addresses()[0];
    let (mut slow, mut quick) = (Client::new(address, "hall"), Client::new(address, "hall"));
    slow.play_interleaved();
    quick.play_interleaved();
    becomes("no key picture was wanted", || stream.takes_key());
    send(&mut feed, true, 1000);
    let reader = std::thread::spawn(move || {
        let mut last = None;
        let mut pictures = 0;
        while let Some(packet) = quick.packet() {
            let number = u16::from_be_bytes([packet[2], packet[3]]);
            assert!(last.is_none_or(|last: u16| number == last.wrapping_add(1)), "a packet is missing");
            last = Some(number);
            pictures += usize::from(packet[1] & 0x80 != 0);
            if pictures == 400 {
                break;
            }
        }
        pictures
    });
    // 400 pictures of 20 000 octets are 8 MB: more than the kernel and the server keep for one client.
    let mut wanted = 0;
    for _ in 1..400 {
        wanted += usize::from(stream.takes_key());
        send(&mut feed, false, 20_000);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(reader.join().unwrap(), 400);
    assert_eq!(wanted, 0, "who does not read has others pay for key pictures");
    becomes("nothing was left out", || {
        let info = stream.info();
        info.clients.iter().any(|client| client.left_out > 0) && info.packet_loss_ratio > 0.0
    });
    // As soon as it reads, it gets a key picture, and whole pictures from there on.
    slow.stream.set_nonblocking(false).unwrap();
    let (sender, packets) = std::sync::mpsc::channel();
    std::thread::spawn(move || while slow.packet().is_some_and(|packet| sender.send(packet).is_ok()) {});
    let mut keys = 0;
    feed_until(&stream, &mut feed, 1000, || {
        keys += packets.try_iter().filter(|packet| kind(packet) == 24).count();
        keys >= 2
    });
}

#[test]
fn reports_are_sent_and_heard() {
    let server = server(None);
    let (stream, mut feed) = stage(&server, "hall");
    let mut client = Client::new(stream.addresses()[0], "hall");
    client.play_interleaved();
    becomes("no key picture was wanted", || stream.takes_key());
    let captured = now();
    send(&mut feed, true, 3000);
    let mut report = None;
    let mut first = None;
    while report.is_none() || first.is_none() {
        match client.next() {
            Came::Packet { channel: 1, packet } => report = Some(packet),
            Came::Packet { packet, .. } => first = first.or(Some(packet)),
            _ => panic!("the connection ended"),
        }
    }
    let (report, first) = (report.unwrap(), first.unwrap());
    let Some(Ok(Packet::Sender { ssrc, info, .. })) = rtcp::packets(&report).next() else {
        panic!("no sender report")
    };
    assert_eq!(ssrc.to_be_bytes(), first[8..12]);
    // The report's two times are one instant: that of the capture plus what the RTP time has advanced by.
    let time = u32::from_be_bytes(first[4..8].try_into().unwrap());
    let advanced = info.rtp_time.0.wrapping_sub(time);
    let at = captured + Duration::from_nanos(u64::from(advanced) * 1_000_000_000 / 90_000);
    let wall = (info.ntp.0 >> 32) as f64 + (info.ntp.0 as u32) as f64 / 4_294_967_296.0 - 2_208_988_800.0;
    let age = now().saturating_sub(at).as_secs_f64();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((clock - wall - age).abs() < 0.02, "off by {} s", clock - wall - age);
    let block = ReportBlock { ssrc, fraction_lost: 64, jitter: 9, ..Default::default() };
    let mut room = [0; 64];
    let mut builder = Builder::new(&mut room[4..]);
    builder.receiver_report(1, Some(&block));
    let length = builder.finish().unwrap();
    room[..4].copy_from_slice(&[b'$', 1, 0, length as u8]);
    client.stream.write_all(&room[..4 + length]).unwrap();
    becomes("the report was not heard", || {
        stream.info().packet_loss_ratio == 0.25 && stream.info().clients[0].jitter == 9
    });
}

#[test]
fn who_asks_for_a_key_picture_gets_one() {
    let server = server(None);
    let (stream, mut feed) = stage(&server, "hall");
    let sockets = loop {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = UdpSocket::bind(("127.0.0.1", port.wrapping_add(1))) {
            break (first, second);
        }
    };
    let mut client = Client::new(stream.addresses()[0], "hall");
    client.play_udp(sockets.0.local_addr().unwrap().port());
    becomes("no key picture was wanted", || stream.takes_key());
    send(&mut feed, true, 5000);
    let mut room = [0; 2000];
    let (length, _) = sockets.0.recv_from(&mut room).unwrap();
    assert_eq!(kind(&room[..length]), 24);
    let (_, reports) = sockets.1.recv_from(&mut room).unwrap();
    assert!(!stream.takes_key());
    // A picture loss indication, and one from a stranger before.
    let indication = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&indication, reports).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert!(!stream.takes_key());
    sockets.1.send_to(&indication, reports).unwrap();
    becomes("no key picture was wanted", || stream.takes_key());
}

#[test]
fn a_large_key_picture_arrives_whole_before_what_follows() {
    let server = server(None);
    let (stream, mut feed) = stage(&server, "hall");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut client = Client::new(stream.addresses()[0], "hall");
    client.play_udp(socket.local_addr().unwrap().port());
    becomes("no key picture was wanted", || stream.takes_key());
    let reader = std::thread::spawn(move || {
        let mut room = [0; 2000];
        let mut packets = Vec::new();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        while packets.iter().filter(|(_, _, last)| *last).count() < 4 {
            let (length, _) = socket.recv_from(&mut room).unwrap();
            packets.push((u16::from_be_bytes([room[2], room[3]]), length, room[1] & 0x80 != 0));
        }
        packets
    });
    for (key, octets) in [(true, 1000), (true, 300_000), (false, 1000), (false, 1000)] {
        send(&mut feed, key, octets);
        std::thread::sleep(Duration::from_millis(33));
    }
    let packets = reader.join().unwrap();
    let octets: usize = packets.iter().map(|(_, length, _)| length).sum();
    assert!(octets > 303_000, "{octets}");
    let in_order = packets.windows(2).all(|two| two[1].0 == two[0].0.wrapping_add(1));
    assert!(in_order, "a packet is missing or was overtaken");
}

#[test]
fn the_port_is_free_when_the_last_stream_is_gone_and_clients_are_told() {
    let server = server(None);
    let (first, mut feed) = stage(&server, "hall");
    let (second, _other) = stage(&server, "yard");
    assert!(matches!(server.mount("hall", Vec::new(), None), Err(Error::Taken(name)) if name == "hall"));
    let address = first.addresses()[0];
    assert_eq!(second.addresses(), first.addresses());
    let mut client = Client::new(address, "hall");
    client.play_interleaved();
    becomes("no key picture was wanted", || first.takes_key());
    send(&mut feed, true, 100);
    client.packet().unwrap();
    drop(first);
    let mut farewell = false;
    loop {
        match client.next() {
            Came::Packet { channel: 1, packet } => {
                farewell |= rtcp::packets(&packet).any(|packet| matches!(packet, Ok(Packet::Bye { .. })));
            }
            Came::End => break,
            _ => {}
        }
    }
    assert!(farewell);
    assert_eq!(Client::new(address, "hall").ask("DESCRIBE", "", "").0, 404);
    assert_eq!(Client::new(address, "yard").ask("DESCRIBE", "", "").0, 200);
    assert!(TcpListener::bind(address).is_err());
    drop(second);
    becomes("the port is not free", || TcpListener::bind(address).is_ok());
}

#[test]
fn who_comes_and_goes_leaves_nothing_behind() {
    let server = server(None);
    let (stream, mut feed) = stage(&server, "hall");
    let address = stream.addresses()[0];
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let mut before = 0;
    for round in 0..1000 {
        let mut client = Client::new(address, "hall");
        if round % 2 == 0 {
            client.play_interleaved();
        } else {
            client.play_udp(9000);
        }
        send(&mut feed, stream.takes_key(), 2000);
        if round % 3 == 0 {
            assert_eq!(client.ask("TEARDOWN", "", "").0, 200);
        } else if round % 2 == 1 {
            // Its session goes on for a while, as it may come back.
            assert_eq!(client.ask("TEARDOWN", "/", "").0, 200);
        }
        drop(client);
        if round == 20 {
            before = descriptors();
        }
    }
    becomes("clients are left", || {
        send(&mut feed, false, 10);
        std::thread::sleep(Duration::from_millis(100));
        clients(&stream) == 0
    });
    // Other tests of this process have descriptors of their own.
    assert!(descriptors() < before + 100, "{before} descriptors became {}", descriptors());
}

#[test]
fn four_streams_serve_25_clients_each() {
    let server = server(None);
    let mut streams: Vec<_> =
        ["north", "east", "south", "west"].iter().map(|name| (*name, stage(&server, name))).collect();
    let mut all = Vec::new();
    for place in 0..100 {
        let (name, (stream, _)) = &streams[place % 4];
        let mut client = Client::new(stream.addresses()[0], name);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if place % 2 == 0 {
            client.play_interleaved();
        } else {
            client.play_udp(socket.local_addr().unwrap().port());
        }
        all.push((client, socket));
    }
    becomes("not all were served", || {
        streams.iter_mut().all(|(_, (stream, feed))| {
            send(feed, stream.takes_key(), 5000);
            std::thread::sleep(Duration::from_millis(5));
            let info = stream.info();
            info.clients.len() == 25 && info.clients.iter().all(|client| client.units > 5)
        })
    });
    let mut sources = std::collections::BTreeSet::new();
    for (place, (client, socket)) in all.iter_mut().enumerate() {
        let packet = if place % 2 == 0 { client.packet().unwrap() } else { received(socket) };
        sources.insert((place % 4, packet[8..12].to_vec()));
    }
    assert_eq!(sources.len(), 4, "all who watch a stream have the same packets");
}

/// The next packet of pictures: ports for reports may be those of other clients here.
fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut room = [0; 2000];
    loop {
        let length = socket.recv(&mut room).unwrap();
        if room[1] & 0x7f == 96 {
            return room[..length].to_vec();
        }
    }
}

#[test]
fn who_says_nothing_or_says_it_slowly_is_shown_out() {
    let server = server(None);
    let (stream, _feed) = stage(&server, "hall");
    let mut silent = TcpStream::connect(stream.addresses()[0]).unwrap();
    let mut slow = TcpStream::connect(stream.addresses()[0]).unwrap();
    let mut rude = TcpStream::connect(stream.addresses()[0]).unwrap();
    let start = Instant::now();
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    rude.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("RTSP/1.0 400 "), "{answer}");
    let talker = std::thread::spawn(move || {
        while slow.write_all(b"O").is_ok() && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(200));
        }
        start.elapsed()
    });
    assert_eq!(silent.read(&mut [0; 9]).unwrap_or(0), 0);
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(talker.join().unwrap() < Duration::from_secs(60));
}

#[test]
fn a_crowd_that_says_nothing_makes_way_for_who_does() {
    let server = server(None);
    let (stream, _feed) = stage(&server, "hall");
    let address = stream.addresses()[0];
    let mut first = Client::new(address, "hall");
    assert_eq!(first.ask("DESCRIBE", "", "").0, 200);
    // The server takes 512, of which one address may have 128.
    let crowd: Vec<_> = (0..700).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert!(crowd.len() > 600);
    let mut last = Client::new(address, "hall");
    assert_eq!(last.ask("DESCRIBE", "", "").0, 200);
    assert_eq!(first.ask("DESCRIBE", "", "").0, 200);
}

/// Whether a request from another of this machine's addresses is answered, with what nobody has set up behind it; and the
/// connection.
fn asks(host: u8, server: SocketAddr, method: &str) -> (bool, TcpStream) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let request = format!("{method} rtsp://{server}/hall RTSP/1.0\r\nCSeq: 1\r\n\r\n$\0\0\0");
    let mut status = [0; 12];
    let answered = stream.write_all(request.as_bytes()).is_ok() && stream.read_exact(&mut status).is_ok();
    (answered && status == *b"RTSP/1.0 200", stream)
}

#[test]
fn a_crowd_that_asks_for_nothing_to_see_makes_way_too_and_no_host_has_all_places() {
    let server = server(None);
    let (stream, _feed) = stage(&server, "hall");
    let address = stream.addresses()[0];
    // Four hosts that have all of the 512 places.
    let crowd: Vec<_> = (0..512).map(|n| asks(2 + n as u8 % 4, address, "OPTIONS")).collect();
    assert!(crowd.iter().all(|(answered, _)| *answered));
    let mut first = Client::new(address, "hall");
    assert_eq!(first.ask("DESCRIBE", "", "").0, 200);
    // One whose connections are all let in does not get more than its share.
    let greedy: Vec<_> = (0..200).map(|_| asks(9, address, "DESCRIBE")).collect();
    assert_eq!(greedy.iter().filter(|(answered, _)| *answered).count(), 128);
    assert_eq!(Client::new(address, "hall").ask("DESCRIBE", "", "").0, 200);
    assert_eq!(first.ask("DESCRIBE", "", "").0, 200);
}
