//! Players and others at a server with a certificate.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nvenc_bridge::encode::Codec;
use nvenc_bridge::rtp::Format;
use nvenc_bridge::serve::{Server, Settings};
use nvenc_bridge::{args, tls};
use rustls::ServerConfig;

use super::bad::{kind, send};
use super::canned::{self, has};
use super::client::{Came, whole};
use super::players::{follows, newer, shown_by_ffmpeg, taken_by_gstreamer};
use super::{becomes, play, settings};

/// A certificate that nobody vouches for but itself; none, with a line that says so, where there is no openssl.
fn certificate(folder: &Path, kind: &[&str]) -> Option<Arc<ServerConfig>> {
    if !has("openssl", "version") {
        eprintln!("skipped: there is no openssl");
        return None;
    }
    let status = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-subj", "/CN=localhost", "-days", "2"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .args(kind)
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    Some(tls::load(&folder.join("certificate.pem"), &folder.join("key.pem")).unwrap())
}

const ELLIPTIC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: [&str; 2] = ["-newkey", "rsa:2048"];

fn server(tls: Arc<ServerConfig>) -> Server {
    Server::new(Settings { tls: Some(tls), ..settings() }).unwrap()
}

/// A client without protocol: what goes in goes out over TLS.
fn connect(server: SocketAddr) -> Child {
    Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &server.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn ffmpeg_plays_over_tls() {
    if !has("ffmpeg", "-version") {
        eprintln!("skipped: there is no ffmpeg");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let vouching = folder.path().join("certificate.pem");
    // The newer one looks at certificates, and the older one cannot.
    let newer = newer().map(|program| (program, vec!["-ca_file", vouching.to_str().unwrap()]));
    for (program, options) in newer.into_iter().chain([("ffmpeg".to_owned(), vec![])]) {
        for kind in [&ELLIPTIC[..], &RSA] {
            let Some(tls) = certificate(folder.path(), kind) else { return };
            let canned = canned::pictures(Codec::H264, 2000);
            let server = server(tls);
            let (_player, address) = play(&server, "hall", vec![canned.clone()], None);
            let url = format!("rtsps://{address}/hall");
            follows(&shown_by_ffmpeg(&program, &url, "tcp", &options), &canned.sums());
        }
    }
}

#[test]
fn gstreamer_plays_over_tls() {
    if !has("gst-launch-1.0", "--version") || !has("ffmpeg", "-version") {
        eprintln!("skipped: there is no gst-launch-1.0, or no ffmpeg");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(tls) = certificate(folder.path(), &ELLIPTIC) else { return };
    let canned = canned::pictures(Codec::H264, 1000);
    let server = server(tls);
    let (_player, address) = play(&server, "hall", vec![canned.clone()], None);
    let source = [&format!("location=rtsps://{address}/hall"), "protocols=tcp", "tls-validation-flags=0"];
    let bits = taken_by_gstreamer(&source, "rtph264depay", "h264parse");
    follows(&canned::sums("h264", &bits), &canned.sums());
}

#[test]
fn who_does_not_speak_tls_or_never_finishes_is_shown_out_and_datagrams_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tls) = certificate(folder.path(), &ELLIPTIC) else { return };
    let server = server(tls);
    let (_player, address) = play(&server, "hall", vec![canned::l16()], None);
    let mut silent = TcpStream::connect(address).unwrap();
    // A handshake of 512 octets of which one has come.
    silent.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"DESCRIBE rtsp://localhost/hall RTSP/1.0\r\nCSeq: 1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    // At most an alert.
    assert!(answer.len() < 8 && !answer.starts_with(b"RTSP"), "{answer:?}");
    let mut client = connect(address);
    let request = |transport: &str| {
        format!(
            "SETUP rtsps://{address}/hall/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: {transport}\r\n\r\n"
        )
    };
    let both =
        [request("RTP/AVP;unicast;client_port=9000-9001"), request("RTP/AVP/TCP;unicast;interleaved=0-1")];
    client.stdin.as_mut().unwrap().write_all(both.concat().as_bytes()).unwrap();
    let mut said = String::new();
    let mut room = [0; 512];
    while said.matches("RTSP/1.0 ").count() < 2 || !said.ends_with("\r\n\r\n") {
        let count = client.stdout.as_mut().unwrap().read(&mut room).unwrap();
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&room[..count]));
    }
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(said.starts_with("RTSP/1.0 461 ") && said.contains("RTSP/1.0 200 "), "{said}");
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let shown_out = silent.read(&mut room);
    let cut = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(matches!(&shown_out, Ok(0)) || shown_out.as_ref().is_err_and(cut), "{shown_out:?}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if certificate(folder.path(), &ELLIPTIC).is_none() {
        return;
    }
    std::fs::rename(path("certificate.pem"), path("other.pem")).unwrap();
    certificate(folder.path(), &RSA).unwrap();
    std::fs::write(path("empty.pem"), "").unwrap();
    let half = args::Settings { tls_key: Some(path("key.pem")), ..args::Settings::default() };
    assert!(tls::of(&half).unwrap_err().ends_with("--tls-certificate"));
    for (certificate, key, words) in [
        ("none.pem", "key.pem", "--tls-certificate "),
        ("empty.pem", "key.pem", "there is none in it"),
        ("certificate.pem", "certificate.pem", "--tls-key "),
        ("other.pem", "key.pem", "--tls-key "),
    ] {
        let error = tls::load(&path(certificate), &path(key)).unwrap_err();
        assert!(error.contains(words) && !error.contains('\n'), "{certificate} {key}: {error}");
    }
}

#[test]
fn who_does_not_read_over_tls_loses_whole_pictures_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tls) = certificate(folder.path(), &ELLIPTIC) else { return };
    let server = server(tls);
    let (stream, mut feeds) = server.mount("hall", vec![Format::Video(Codec::H264)], None).unwrap();
    let mut feed = feeds.remove(0);
    let address = stream.addresses()[0];
    let mut client = connect(address);
    let mut input = client.stdin.take().unwrap();
    let mut output = client.stdout.take().unwrap();
    let url = format!("rtsps://{address}/hall");
    let setup = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";
    write!(input, "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n{setup}\r\n\r\n").unwrap();
    let (mut unread, mut room) = (Vec::new(), vec![0; 1 << 16]);
    let session = loop {
        let count = output.read(&mut room).unwrap();
        unread.extend_from_slice(&room[..count]);
        if let Some((Came::Answer { head, .. }, used)) = whole(&unread) {
            unread.drain(..used);
            break head.split("Session: ").nth(1).unwrap().split(';').next().unwrap().to_owned();
        }
    };
    write!(input, "PLAY {url} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n").unwrap();
    becomes("nothing was left out", || {
        send(&mut feed, stream.takes_key(), 20_000);
        stream.info().clients.iter().any(|client| client.left_out > 0)
    });
    let reader = std::thread::spawn(move || {
        let (mut next, mut after) = (None, None);
        // A hundred packets behind what was left out.
        while after != Some(100) {
            let count = output.read(&mut room).unwrap();
            unread.extend_from_slice(&room[..count]);
            while let Some((came, used)) = whole(&unread) {
                unread.drain(..used);
                let Came::Packet { channel: 0, packet } = came else { continue };
                let number = u16::from_be_bytes([packet[2], packet[3]]);
                if next.is_some_and(|next| next != number) {
                    assert_eq!(kind(&packet), 24, "it goes on with what is no key picture");
                    after = Some(0);
                }
                next = Some(number.wrapping_add(1));
                after = after.map(|after| 100.min(after + 1));
            }
        }
    });
    becomes("it got nothing more", || {
        send(&mut feed, stream.takes_key(), 20_000);
        std::thread::sleep(Duration::from_millis(5));
        reader.is_finished()
    });
    reader.join().unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn the_program_serves_over_tls_as_its_file_says() {
    if !has("ffmpeg", "-version") {
        eprintln!("skipped: there is no ffmpeg");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    if certificate(folder.path(), &ELLIPTIC).is_none() {
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "bind = [\"127.0.0.1\"]\nport = {port}\njson = true\ntls-certificate = {:?}\ntls-key = {:?}\n",
        folder.path().join("certificate.pem"),
        folder.path().join("key.pem")
    );
    std::fs::write(folder.path().join("bridge.toml"), text).unwrap();
    let mut bridge = Command::new(env!("CARGO_BIN_EXE_nvenc-bridge"))
        .arg("--config")
        .arg(folder.path().join("bridge.toml"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(bridge.stdout.take().unwrap()).lines().map_while(Result::ok);
    let serving = lines.find(|line| line.contains("\"serving\"")).unwrap();
    let url = format!("rtsps://127.0.0.1:{port}/stream");
    assert!(serving.contains(&url), "{serving}");
    let played = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-i",
            &url,
            "-frames:v",
            "5",
            "-f",
            "null",
            "-",
        ])
        .status();
    bridge.kill().unwrap();
    bridge.wait().unwrap();
    assert!(played.unwrap().success());
}
