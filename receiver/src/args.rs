//! The command line, and the configuration file with the same names.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use control::cli::Program;
use control::config::{Shift, Span};
use serde::{Deserialize, Serialize};

const EXAMPLES: &str = "\
Examples:
  Play to the system's default sound card, 30 ms after the sender:
      receiver --listen 0.0.0.0:57001 --playback default
  One speaker on a Raspberry Pi's headphone socket, on a nervous WLAN:
      receiver --playback plughw:Headphones --channels 2 --buffer normal
  Record what comes, exactly, and end with the stream:
      receiver --listen 0.0.0.0:57001 --playback take.wav --exit-after-stream
  From GStreamer, FFmpeg or another program that sends Opus:
      receiver --listen 5004 --rtpmap '97 opus/48000/2'
  What an SDP file describes, or what PipeWire or AES67 gear announces:
      receiver --sdp door.sdp
      receiver --sap 'Living room'
  One channel, and two summed, of a stream that is sent to a multicast group:
      receiver --listen 239.1.2.3:5004 --map 3,0+1
  Into another program:
      receiver --playback - | aplay -f S16_LE -r 44100 -c 1

A file or pipe follows the stream's clock and gets every sample as it was sent. A sound card follows its own clock, and
the stream is resampled to it (--drift off leaves it alone).
Exit status: 0 ended as asked, 1 a file or pipe failed while running, 2 it could not start as asked.
A sound card that goes away while running is tried until it is back.";

/// The program, for its command line.
pub const PROGRAM: Program = Program {
    name: "receiver",
    version: env!("CARGO_PKG_VERSION"),
    about: "Receives a stream of sound over UDP and plays it to a sound card, a file or a pipe",
    examples: EXAMPLES,
};

/// Everything that options and the configuration file can set.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Where to listen: ADDRESS:PORT, or a port alone; ADDRESS may be a multicast group; twice for the two addresses by which one
    /// stream comes, where not all are listened to [default: 0.0.0.0:57001]
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(deserialize_with = "control::config::one_or_several")]
    pub listen: Vec<String>,
    /// Hear this sender alone in a multicast group; repeatable [default: everybody]
    #[arg(long, value_name = "ADDRESS")]
    pub source: Vec<IpAddr>,
    /// A network interface to join a multicast group on, by name or address; repeatable [default: every one]
    #[arg(long, value_name = "INTERFACE")]
    pub interface: Vec<String>,
    /// Which of the stream's channels to play, where it has more than this receiver's: 3,0+1 [default: all of them]
    #[arg(long, value_name = "CHANNELS")]
    pub map: Option<String>,
    /// Where to play: a sound card, FILE.wav, `-` (raw 16-bit PCM on standard output), `null`,
    /// `virtual[:ppm=N,jitter=MS,xrun=S,file=PATH]` [default: default]
    #[arg(long, value_name = "SINK")]
    pub playback: Option<String>,
    /// Channels to play [default: 2 on a sound card; elsewhere those of --map, or the stream's own]
    #[arg(long, value_name = "N")]
    pub channels: Option<u16>,
    /// From sending, as the earliest arrivals show it, to the DAC; the card's buffers included, like 30ms [default: 30ms]
    #[arg(long, value_name = "TIME")]
    pub latency: Option<Span>,
    /// Play in time with the other speakers of the group, as the sender says, or go by the arrivals alone [default: auto]
    #[arg(long)]
    pub sync: Option<SyncChoice>,
    /// Play so much later than the group, or earlier where negative, like -1.5ms [default: 0ms]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub trim: Option<Shift>,
    /// Keep the latency, or adapt it to the network when a sound card plays; the latency is then the first one. In a group
    /// this is what the speaker asks for; all of them then play as late as the slowest one needs [default: fixed]
    #[arg(long)]
    pub buffer: Option<BufferChoice>,
    /// Least latency of a buffer that adapts [default: what the sound card needs]
    #[arg(long, value_name = "TIME")]
    pub latency_min: Option<Span>,
    /// Most latency of a buffer that adapts [default: 250ms]
    #[arg(long, value_name = "TIME")]
    pub latency_max: Option<Span>,
    /// Wire format [default: auto]
    #[arg(long)]
    pub wire: Option<WireChoice>,
    /// Take only what is encrypted with the key in this file (`receiver keygen FILE` makes one)
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Take only what comes from this address; may be repeated [default: from whoever sends first]
    #[arg(long, value_name = "ADDRESS")]
    pub from: Vec<IpAddr>,
    /// What a dynamic payload type means that the sender does not announce, as SDP says it: 97 opus/48000/2
    #[arg(long, value_name = "RTPMAP")]
    pub rtpmap: Option<String>,
    /// Play what an SDP file describes: its port, its address, its format
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "rtpmap", "wire", "sap"])]
    pub sdp: Option<PathBuf>,
    /// Wait for a session of this name to be announced (SAP), and play it; without a name, say what is announced until
    /// interrupted
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "",
          conflicts_with_all = ["listen", "rtpmap", "wire"])]
    pub sap: Option<String>,
    /// Follow the sender's clock by resampling, or leave every sample as it is [default: auto]
    #[arg(long)]
    pub drift: Option<DriftChoice>,
    /// Frames a second until a stream says otherwise, and of headerless PCM [default: 44100]
    #[arg(long, value_name = "HZ")]
    pub rate: Option<u32>,
    /// Channels of headerless PCM [default: 1]
    #[arg(long, value_name = "N")]
    pub plain_channels: Option<u16>,
    /// Frames in a period of the sound card [default: from the latency]
    #[arg(long, value_name = "FRAMES")]
    pub period: Option<u32>,
    /// End when the stream ends: at the sender's goodbye, or after two seconds without packets
    #[arg(long)]
    pub exit_after_stream: bool,
    /// One JSON object a line on standard output (standard error with `--playback -`)
    #[arg(long)]
    pub json: bool,
    /// Time between two status reports, like 1s [default: 250ms on a terminal, 10s in a pipe, 1s with --json]
    #[arg(long, value_name = "TIME")]
    pub status_interval: Option<Span>,
}

/// Which wire format to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WireChoice {
    /// Find out
    Auto,
    /// RTP: L16, L24 or Opus
    Rtp,
    /// Headerless signed 16-bit little-endian PCM
    Plain,
    /// VBAN, 16 or 24 bits
    Vban,
}

/// What to do about other speakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SyncChoice {
    /// In time with them where the sender says when
    Auto,
    /// So long after the earliest arrivals
    Off,
}

/// What to do about packets that come late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BufferChoice {
    /// Keep the latency, whatever comes
    Fixed,
    /// As short as can be: 1 packet in 100 may be late
    Live,
    /// 1 packet in 2000 may be late
    Normal,
    /// 1 packet in 10 000 may be late, and slow to come down
    Safe,
}

/// What to do about clocks that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DriftChoice {
    /// Resample to the sound card's clock
    Auto,
    /// Leave every sample as it is
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        PROGRAM.command::<Settings, std::convert::Infallible>().debug_assert();
    }
}
