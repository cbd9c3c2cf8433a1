//! The command line, and the configuration file with the same names.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use control::cli::Program;
use control::codec::{Application, BitRate, RateControl};
use control::config::Span;
use control::signal::Signal;
use control::wire::WireName;
use serde::{Deserialize, Serialize};

const EXAMPLES: &str = "\
Examples:
  Two speakers, one channel each, from the sixteen channels of BlackHole:
      sender --capture BlackHole --client 'Left=192.168.2.21:57001/0' --client 'Right=192.168.2.22:57001/1'
  A WAV file for ever, to the clients of a list that may change meanwhile:
      sender --capture walk.wav --loop --clients clients.json
  Two channels summed into one, to a program that expects headerless PCM:
      sender --capture hw:1 --wire plain --client 'Old=192.168.2.30:57001/0+1'
  One stream of eight channels for all who listen, each of whom picks its own:
      sender --capture BlackHole --interface en0 --client 'All=239.1.2.3:5004/0,1,2,3,4,5,6,7'
  A speaker that is on two networks, either of which may fail:
      sender --capture BlackHole --client 'Door=10.0.1.21,10.0.2.21/0'
  From another program:
      sox talk.flac -t raw -e signed -b 16 -r 44100 -c 2 - | sender --capture - --channels 2 --client a=10.0.0.2:57001/0,1
  Which speaker is which, and are they connected rightly:
      sender identify Door --clients clients.json
      sender test polarity Door --clients clients.json
  How much later each is heard at a microphone, and a list in which all are heard together:
      sender align --microphone hw:1 --clients clients.json --save aligned.json

Channels count from 0; `,` separates output channels, `+` sums channels into one.
Exit status: 0 the stream ended as asked, 1 a file or pipe failed while running or a speaker was not heard, \
2 it could not start as asked.
A sound card that goes away while running is tried until it is back.";

/// The program, for its command line.
pub const PROGRAM: Program = Program {
    name: "sender",
    version: env!("CARGO_PKG_VERSION"),
    about: "Captures many channels once and streams to each client the channels that it is to play",
    examples: EXAMPLES,
};

/// Everything that options and the configuration file can set.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// What to capture: a sound card, FILE.wav, `-` (raw 16-bit PCM on standard input), `tone[:HZ]`, `silence`,
    /// `virtual[:ppm=N,jitter=MS,xrun=S]`
    #[arg(long, value_name = "SOURCE")]
    pub capture: Option<String>,
    /// A client: NAME=ADDRESS:PORT/CHANNELS, the port 57001 (VBAN: 6980) where none is named; ADDRESS may be a multicast group, or
    /// ADDRESS,ADDRESS for one that is on two networks; repeatable
    #[arg(long, value_name = "CLIENT")]
    pub client: Vec<String>,
    /// A JSON list of clients; read again when it changes and on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub clients: Option<PathBuf>,
    /// Write the list of clients here, now and after each change
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Wire format of clients that do not name one [default: rtp]
    #[arg(long)]
    pub wire: Option<WireName>,
    /// Codec of clients that do not name one [default: pcm16]
    #[arg(long)]
    pub codec: Option<CodecName>,
    /// How losses of clients that do not say are repaired: off, request (what they ask for is sent again), auto (and parity
    /// where that is too slow), or always with parity: duplicate, or PACKETS+ROWSxSPREAD, like 8+3x2 [default: auto]
    #[arg(long, value_name = "REPAIR")]
    pub repair: Option<String>,
    /// When the clients of a group play what is captured: auto (as soon as all of them can, at the same time), a TIME after
    /// its capture, or off (each by the arrivals of its own packets) [default: auto]
    #[arg(long, value_name = "auto|TIME|off")]
    pub delay: Option<String>,
    /// Most that --delay auto takes; a client that needs more plays late by itself [default: 200ms]
    #[arg(long, value_name = "TIME")]
    pub delay_max: Option<Span>,
    /// How long a packet of Opus lasts: 2.5ms, 5ms, 10ms or 20ms [default: 5ms]
    #[arg(long, value_name = "TIME")]
    pub opus_frame: Option<Span>,
    /// Bit/s of Opus, all channels of a client together, like 96k [default: 96k for each channel]
    #[arg(long, value_name = "RATE")]
    pub opus_bitrate: Option<BitRate>,
    /// Effort of Opus's encoder, 0 to 10 [default: 5]
    #[arg(long, value_name = "N")]
    pub opus_complexity: Option<u8>,
    /// What Opus is tuned for [default: lowdelay]
    #[arg(long)]
    pub opus_application: Option<Application>,
    /// How Opus keeps its bit rate [default: cvbr]
    #[arg(long)]
    pub opus_rate_control: Option<RateControl>,
    /// Loss in percent that Opus prepares for, where it codes speech in 10 or 20 ms [default: 0]
    #[arg(long, value_name = "PERCENT")]
    pub opus_loss: Option<u8>,
    /// Frames in a packet of PCM, 32 to 1024 [default: 128; 1024 for headerless PCM]
    #[arg(long, value_name = "N")]
    pub frames: Option<u16>,
    /// Most octets of a datagram's payload, 576 to 1472; packets shrink to fit [default: 1200]
    #[arg(long, value_name = "OCTETS")]
    pub mtu: Option<u16>,
    /// Frames a second of the stream; files are converted to it [default: 44100]
    #[arg(long, value_name = "HZ")]
    pub rate: Option<u32>,
    /// Channels to capture, where the source does not say [default: as many as the clients need]
    #[arg(long, value_name = "N")]
    pub channels: Option<u16>,
    /// Frames in a period of the sound card [default: 128]
    #[arg(long, value_name = "FRAMES")]
    pub period: Option<u32>,
    /// Start a file again at its end
    #[arg(long = "loop")]
    #[serde(rename = "loop")]
    pub repeat: bool,
    /// Write an SDP file for each RTP client into this folder, for ffmpeg, VLC or GStreamer
    #[arg(long, value_name = "FOLDER")]
    pub sdp: Option<PathBuf>,
    /// Encrypt everything with the key in this file (`sender keygen FILE` makes one); receivers need the same
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Announce each RTP stream (SAP), so that VLC, PipeWire and AES67 gear find it: every 5 minutes, or every TIME for
    /// programs that forget sooner, like 30s; more rarely where there are many
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "300s")]
    pub sap: Option<Span>,
    /// Local address to send from
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// A network interface that what goes to multicast groups leaves by, by name or address; repeatable [default: the system's
    /// choice]
    #[arg(long, value_name = "INTERFACE")]
    pub interface: Vec<String>,
    /// Networks that what goes to multicast groups may cross, 1 to 255 [default: 1, the local network alone]
    #[arg(long, value_name = "N")]
    pub ttl: Option<u8>,
    /// Do not let programs on this machine hear what goes to multicast groups
    #[arg(long)]
    pub no_loopback: bool,
    /// How routers and switches are to treat packets: ef, af41, another class or a number from 0 to 63 [default: ef]
    #[arg(long, value_name = "CLASS")]
    pub dscp: Option<String>,
    /// One JSON object a line on standard output
    #[arg(long)]
    pub json: bool,
    /// Time between two status reports, like 1s [default: 250ms on a terminal, 10s in a pipe, 1s with --json]
    #[arg(long, value_name = "TIME")]
    pub status_interval: Option<Span>,
}

/// What is done with speakers rather than with a stream.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Have one speaker beep, as many times as its place in the list says, until interrupted
    Identify {
        /// Its name
        name: String,
        /// Where it is found.
        #[command(flatten)]
        speakers: Speakers,
    },
    /// Play a test signal on one speaker alone, with its gain and polarity, until interrupted; a sender that runs plays it
    /// where the list says "test": "KIND"
    Test {
        /// Which signal
        kind: Signal,
        /// The speaker's name
        name: String,
        /// Where it is found.
        #[command(flatten)]
        speakers: Speakers,
    },
    /// Measure when a microphone on this machine hears each speaker: a chirp of a second on one after another
    #[command(after_help = ALIGN_HELP)]
    Align(Align),
}

const ALIGN_HELP: &str = "\
Put the microphone where people will be, and end other senders. The chirp rises from 500 Hz to 8 kHz; a subwoofer is not \
heard. What arrives within a second is found. Groups, delays and mutes of the list are left aside. Receivers that do not \
follow the sender's clock need the same latency, since what one adds counts as distance. 1 ms is 0.343 m of air.

Examples:
  The table, as seen from the microphone:
      sender align --microphone hw:1 --clients clients.json
  A list in which all speakers are heard at once, with distances from one of them:
      sender align --microphone hw:1 --clients clients.json --to Door --save aligned.json

Exit status: 0 all were heard, 1 one was not, or the microphone failed, 2 it could not start as asked.";

/// What `align` is told.
#[derive(Args, Debug)]
pub struct Align {
    /// The microphone: a sound card; all its channels are summed
    #[arg(long, value_name = "DEVICE")]
    pub microphone: String,
    /// Tell distances from this speaker [default: the one that is heard first]
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,
    /// Frames a second of the microphone and the streams [default: 44100]
    #[arg(long, value_name = "HZ")]
    pub rate: Option<u32>,
    /// Write the list here, with the `delay_ms` at which all that were heard are heard together
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// The speakers.
    #[command(flatten)]
    pub speakers: Speakers,
}

/// Which speakers there are. What else the sender's configuration says of packets holds too.
#[derive(Args, Debug)]
pub struct Speakers {
    /// A client: NAME=ADDRESS:PORT/CHANNELS; repeatable
    #[arg(long, value_name = "CLIENT")]
    pub client: Vec<String>,
    /// A JSON list of clients
    #[arg(long, value_name = "FILE")]
    pub clients: Option<PathBuf>,
    /// The sender's settings, as it reads them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object a line on standard output
    #[arg(long)]
    pub json: bool,
}

/// A codec's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CodecName {
    /// 16-bit linear PCM
    Pcm16,
    /// 24-bit linear PCM
    Pcm24,
    /// Opus
    Opus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        PROGRAM.command::<Settings, Tool>().debug_assert();
    }

    #[test]
    fn a_file_takes_the_options_names() {
        let text = r#"
            capture = "tone"
            client = ["a=127.0.0.1:5000/0"]
            wire = "plain"
            opus-bitrate = "64k"
            opus-application = "voip"
            loop = true
            status-interval = "500ms"
        "#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sender.toml");
        std::fs::write(&path, text).unwrap();
        let settings: Settings = control::config::load(&path).unwrap();
        assert_eq!((settings.wire, settings.repeat), (Some(WireName::Plain), true));
        assert_eq!(settings.opus_bitrate, Some(BitRate(64_000)));
        assert_eq!(settings.opus_application, Some(Application::Voip));
        assert_eq!(settings.status_interval.unwrap().nanos, 500_000_000);
    }
}
