//! Wireshark's dissectors read everything that the sender sends, and find nothing wrong with it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::*;
use os::multicast;
use os::udp::{Inbox, Socket};
use tests::program::{has, skip};

/// A capture file of IPv4 packets (LINKTYPE_IPV4).
struct Capture(Vec<u8>);

impl Capture {
    fn new() -> Self {
        let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 228_u32];
        Self(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// Adds a datagram that came after so many microseconds.
    fn add(&mut self, micros: u32, from: SocketAddr, to: (Ipv4Addr, u16), payload: &[u8]) {
        let SocketAddr::V4(from) = from else { panic!("{from} is not IPv4") };
        let length = 28 + payload.len();
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 1, 17, 0, 0];
        packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        packet.extend(from.ip().octets());
        packet.extend(to.0.octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.1.to_be_bytes());
        packet.extend((length as u16 - 20).to_be_bytes());
        // No checksum, neither of IP, which is not looked at unless asked for, nor of UDP, where 0 means that there is none.
        packet.extend([0, 0]);
        packet.extend(payload);
        let words = [micros / 1_000_000, micros % 1_000_000, length as u32, length as u32];
        self.0.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.0.extend(packet);
    }
}

#[test]
fn nothing_that_is_sent_is_malformed() {
    if !has("tshark") {
        return skip("tshark is not installed");
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (mux, next) = (free_ports(), free_ports());
    let list = folder.path().join("list.json");
    let text = format!(
        r#"{{"mux {mux}": {{"ip": "127.0.0.1", "port": {mux}, "channels": [0, 1], "rtcp": "mux", "repair": "4+2x1"}},
            "next {next}": {{"ip": "127.0.0.1", "port": {next}, "channel": 0, "codec": "opus", "rtcp": "next"}}}}"#
    );
    std::fs::write(&list, text).unwrap();
    let group = Ipv4Addr::new(239, 255, 255, 255);
    let here = Ipv4Addr::LOCALHOST;
    let own = |port: u16| (Socket::bind((here, port).into()).unwrap(), (here, port));
    let announced = (group, proto::sap::PORT);
    let (ear, mut membership) =
        multicast::listen(announced.into(), Vec::new(), vec![here.to_string()]).unwrap();
    membership.refresh().unwrap();
    let ears = [own(mux), own(next), own(next + 1), (ear, announced)];
    let mut inbox = Inbox::default();
    let arguments = [
        "--capture",
        "tone",
        "--channels",
        "2",
        "--clients",
        list.to_str().unwrap(),
        "--bind",
        "127.0.0.1",
        "--sap",
    ];
    let mut sender = Program::start("sender", &arguments);
    sender.wait_for("client");
    let (mut capture, start) = (Capture::new(), Instant::now());
    let mut sender = Some(sender);
    while start.elapsed() < Duration::from_secs(4) {
        if start.elapsed() > Duration::from_secs(3) {
            drop(sender.take().map(Program::interrupt));
        }
        for (ear, to) in &ears {
            inbox.receive(ear, |_, from, datagram| {
                capture.add(start.elapsed().as_micros() as u32, from, *to, datagram);
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let path = folder.path().join("capture.pcap");
    std::fs::File::create(&path).unwrap().write_all(&capture.0).unwrap();
    let dissect = |filter: &str| {
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(&path).args(["-Y", filter]);
        for (port, protocol) in [(mux, "rtp"), (next, "rtp"), (next + 1, "rtcp")] {
            tshark.args(["-d", &format!("udp.port=={port},{protocol}")]);
        }
        let output = tshark.env("HOME", folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let wrong = dissect("_ws.malformed || _ws.expert.severity >= 6291456");
    assert_eq!(wrong, "");
    for filter in [
        format!("rtp && udp.dstport == {mux} && rtp.p_type == 10"),
        format!("rtp && udp.dstport == {next} && rtp.p_type == 98"),
        format!("rtcp.pt == 200 && udp.dstport == {mux}"),
        format!("rtcp.pt == 200 && udp.dstport == {}", next + 1),
        format!("rtcp.pt == 203 && udp.dstport == {}", next + 1),
        "sap && sdp".into(),
        // Taken back at the end.
        "sap.flags.t == 1".into(),
    ] {
        assert!(!dissect(&filter).is_empty(), "there is no `{filter}` in the capture");
    }
}
