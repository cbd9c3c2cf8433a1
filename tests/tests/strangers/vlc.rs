//! VLC. Debian's is built without live555, so that it takes no SDP, and knows only the payload types that need none: what it
//! plays of ours is L16 at 44.1 kHz. It sends everything.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;
use tests::program::{has, is_root, skip};

/// VLC without an interface, for so many seconds at most, in a folder that it can write to. It refuses to be run by root.
fn vlc(folder: &Path, seconds: u32) -> Command {
    std::fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("timeout");
    command.args(["-s", "INT", &seconds.to_string()]);
    if is_root() {
        command.args(["runuser", "-u", "nobody", "--"]);
    }
    command.args(["cvlc", "-I", "dummy", "--no-dbus", "--aout", "dummy"]).env("HOME", folder);
    command
}

#[test]
fn vlc_plays_l16() {
    if !has("cvlc") {
        return skip("cvlc is not installed");
    }
    for kind in [L16_MONO, L16] {
        let folder = tempfile::tempdir().unwrap();
        let (take, port) = (folder.path().join("x.wav"), free_ports());
        let sender = sender(folder.path(), kind, port);
        let mut vlc = vlc(folder.path(), 5);
        vlc.arg(format!("rtp://@127.0.0.1:{port}"));
        vlc.arg(format!(
            "--sout=#transcode{{acodec=s16l}}:std{{access=file,mux=wav,dst={}}}",
            take.display()
        ));
        assert_tones(&hear(sender, vlc, &take), kind);
    }
}

#[test]
fn what_vlc_sends_is_played() {
    if !has("cvlc") {
        return skip("cvlc is not installed");
    }
    for (kind, encoder) in [
        (L16_MONO, "acodec=s16b"),
        (L16, "acodec=s16b"),
        (L24, "acodec=s24b"),
        (OPUS, "acodec=opus,ab=192,samplerate=48000"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let take = folder.path().join("x.wav");
        // The payload type that VLC gives to what has none.
        let ours = kind.rtpmap().map(|rtpmap| rtpmap.replace("97 ", "96 "));
        let mut arguments = vec!["--playback", take.to_str().unwrap(), "--exit-after-stream"];
        arguments.extend(ours.iter().flat_map(|rtpmap| ["--rtpmap", rtpmap]));
        let (receiver, address) = Program::receiver(&arguments);
        let source = write_tones(folder.path(), kind, 5);
        let mut vlc = vlc(folder.path(), 15);
        vlc.arg(source);
        vlc.arg(format!("--sout=#transcode{{{encoder}}}:rtp{{dst=127.0.0.1,port={}}}", address.port()));
        vlc.arg("vlc://quit");
        assert_tones(&record(receiver, vlc, &take), kind);
    }
}
