//! FFmpeg, by SDP files.

use super::*;
use tests::program::{has, skip};

#[test]
fn ffmpeg_plays_every_codec() {
    if !has("ffmpeg") {
        return skip("ffmpeg is not installed");
    }
    for kind in [L16_MONO, L16, L24, OPUS] {
        let folder = tempfile::tempdir().unwrap();
        let (description, take) = (folder.path().join("x.sdp"), folder.path().join("x.wav"));
        let sender = sender(folder.path(), kind, free_ports());
        let mut ffmpeg = Command::new("ffmpeg");
        // The description says all that FFmpeg would look for in five seconds of sound.
        ffmpeg
            .args(["-v", "error", "-analyzeduration", "100000", "-protocol_whitelist", "file,udp,rtp", "-i"])
            .arg(&description);
        ffmpeg.args(["-t", "2", "-c:a", "pcm_s16le"]).arg(&take);
        assert_tones(&hear(sender, ffmpeg, &take), kind);
    }
}

#[test]
fn what_ffmpeg_sends_is_played() {
    if !has("ffmpeg") {
        return skip("ffmpeg is not installed");
    }
    for (kind, encoder) in
        [(L16_MONO, "pcm_s16be"), (L16, "pcm_s16be"), (L24, "pcm_s24be"), (OPUS, "libopus")]
    {
        let folder = tempfile::tempdir().unwrap();
        let take = folder.path().join("x.wav");
        let (receiver, port) = receiver(&take, kind);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-re", "-i"]).arg(write_tones(folder.path(), kind, 3));
        ffmpeg.args(["-c:a", encoder, "-b:a", "192k", "-payload_type", &kind.payload_type().to_string()]);
        ffmpeg.args(["-f", "rtp", &format!("rtp://127.0.0.1:{port}?pkt_size=1200")]);
        assert_tones(&record(receiver, ffmpeg, &take), kind);
    }
}
