//! The command line, and the configuration file with the same names.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use control::cli::Program;
use control::config::Span;
use serde::{Deserialize, Serialize};

use crate::params::Params;

const EXAMPLES: &str = "\
Examples:
  A test pattern to any RTSP player, at rtsp://ADDRESS:8554/stream:
      nvenc-bridge
  A video file over and over, with gradual refresh instead of key pictures:
      nvenc-bridge --pictures walk.mp4 --loop --intra-refresh-period 60 --intra-refresh-length 30
  Pictures of another program:
      render | nvenc-bridge --pictures - --raw-format rgba --width 1920 --height 1080 --fps 60
  Sound alone:
      nvenc-bridge --operator audiostreamout --audio tone --audio-codec opus
  What becomes of each parameter, on the encoder that would be used:
      nvenc-bridge params --video-codec h264 --quality lowlatencyhigh --max-b-frames 2

A file holds the parameters under the names of their pages (`keyframeinterval`), and several streams as [[stream]] tables, whose \
parameters stand before those at the top and on the command line.
Exit status: 0 the streams ended as asked, 1 a source failed while running, 2 it could not start as asked.";

/// The program, for its command line.
pub const PROGRAM: Program = Program {
    name: "nvenc-bridge",
    version: env!("CARGO_PKG_VERSION"),
    about: "Encodes pictures and sound, on an NVIDIA GPU or in software, and serves them to players",
    examples: EXAMPLES,
};

/// Everything that can be set. What is not set is `None`, false or empty.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Settings {
    /// Of the stream, or of all of them.
    #[command(flatten)]
    #[serde(flatten)]
    pub params: Params,
    /// Each stream's own; in files alone.
    #[arg(skip)]
    pub stream: Vec<Params>,
    /// Address to serve at; may be given more than once [default: every address of this machine]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Vec<IpAddr>,
    /// Who may watch: a file with one line, NAME:PASSWORD (digest authentication) [default: everybody]
    #[arg(long, value_name = "FILE")]
    pub login: Option<PathBuf>,
    /// Serve by TLS alone, at rtsps://: file with the certificate, and those that vouch for it, in PEM
    #[arg(long, value_name = "FILE")]
    #[serde(rename = "tls-certificate")]
    pub tls_certificate: Option<PathBuf>,
    /// File with the certificate's private key, in PEM
    #[arg(long, value_name = "FILE")]
    #[serde(rename = "tls-key")]
    pub tls_key: Option<PathBuf>,
    /// Connections of players at a time; one address has a quarter of them at most [default: 1000]
    #[arg(long, value_name = "N")]
    #[serde(rename = "max-connections")]
    pub max_connections: Option<usize>,
    /// Take requests over HTTP and serve figures for Prometheus there: ADDRESS:PORT, or a port of this computer alone
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// File with the word that every request has to bring; other computers may ask only with one
    #[arg(long, value_name = "FILE")]
    #[serde(rename = "http-token")]
    pub http_token: Option<PathBuf>,
    /// One JSON object a line on standard output
    #[arg(long)]
    pub json: bool,
    /// Time between two status reports, like 1s [default: 250ms on a terminal, 10s in a pipe, 1s with --json]
    #[arg(long, value_name = "TIME")]
    #[serde(rename = "status-interval")]
    pub status_interval: Option<Span>,
}

impl Settings {
    /// The parameters of each stream.
    pub fn streams(&self) -> Vec<Params> {
        if self.stream.is_empty() {
            vec![self.params.clone()]
        } else {
            self.stream.iter().map(|stream| self.params.under(stream)).collect()
        }
    }
}

/// What is done instead of streaming.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Print every parameter, its value, and what it becomes on the encoder that would be used
    Params(Box<Shown>),
    /// Say which NVIDIA cards, driver and codecs there are, or why there are none
    Probe(Printed),
    /// The same, with the limits of each codec
    Caps(Printed),
    /// Try every card with every codec and print one report, in JSON; some seconds
    Selftest,
}

/// How something is printed.
#[derive(Args, Debug)]
pub struct Printed {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What `params` prints.
#[derive(Args, Debug)]
pub struct Shown {
    /// As the streams would have them.
    #[command(flatten)]
    pub settings: Settings,
    /// Read settings from a TOML or JSON file, as without the command
    #[arg(long, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// Those that this version refuses or that do nothing here too
    #[arg(long)]
    pub all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        PROGRAM.command::<Settings, Tool>().debug_assert();
    }

    #[test]
    fn a_file_takes_the_pages_names_and_streams_have_their_own() {
        let text = r#"
            keyframeinterval = 30
            multicast = true
            json = true
            resolution = [640, 480]
            [[stream]]
            streamname = "left"
            [[stream]]
            streamname = "right"
            keyframeinterval = 90
            multicast = "off"
            [[stream]]
            operator = "audiostreamout"
            streamname = "sound"
            audiochop = "tone"
        "#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.toml");
        std::fs::write(&path, text).unwrap();
        let file: Settings = control::config::load(&path).unwrap();
        let settings = control::config::merge(&Settings::default(), &file).unwrap();
        assert!(settings.json);
        let seen: Vec<_> = settings
            .streams()
            .iter()
            .map(|p| {
                (
                    p.text("streamname"),
                    p.count("keyframeinterval"),
                    p.is_on("multicast"),
                    p.count("resolutionw"),
                )
            })
            .collect();
        assert_eq!(seen[..2], [("left".into(), 30, true, 640), ("right".into(), 90, false, 640)]);
        // What sound alone does not have is not said of it.
        assert!(settings.streams()[2].check().is_ok() && settings.streams()[2].is_on("multicast"));
    }

    #[test]
    fn a_file_with_an_unknown_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.toml");
        for (text, words) in [
            ("colour = 1", "there is no parameter `colour`"),
            ("[[stream]]\ncolour = 1", "there is no parameter `colour`"),
            ("port = 0", "port: `0` is not a whole number from 1 to 65535"),
            ("quality = \"best\"", "quality: `best` is not one of: lowlatencylow"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = control::config::load::<Settings>(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_command_line_stands_before_the_file_even_where_it_puts_something_off() {
        use clap::FromArgMatches;
        let command = Settings::augment_args(clap::Command::new("bridge"));
        let line = ["bridge", "--multicast=off", "--keyframe-interval", "12", "--json"];
        let given = Settings::from_arg_matches(&command.get_matches_from(line)).unwrap();
        let mut file = Settings::default();
        file.params.set("multicast", &true.into()).unwrap();
        file.params.set("fps", &25.into()).unwrap();
        let merged = control::config::merge(&given, &file).unwrap().params;
        assert_eq!((merged.is_on("multicast"), merged.count("keyframeinterval")), (false, 12));
        assert_eq!(merged.number("fps"), Some(25.0));
    }
}
