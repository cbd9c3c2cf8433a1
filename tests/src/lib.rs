//! What the tests share: starting the programs, reading what they say, sound that names its own faults.

pub mod canary;
pub mod figures;
pub mod hosts;
pub mod pilot;
pub mod program;
pub mod recorder;
pub mod servers;
pub mod sound;
pub mod world;

use audio::receive::Config;

/// A receiver that takes any stream, with this latency in nanoseconds by the arrivals, and has no key. Headerless PCM has so many
/// frames a second.
pub fn receiver(rate: u32, latency: i64) -> Config {
    Config {
        wire: None,
        latency,
        trim: None,
        adapt: None,
        format: None,
        plain_rate: rate,
        plain_channels: 1,
        secret: None,
        from: Vec::new(),
        cname: "receiver@test".into(),
        ssrc: 9,
    }
}
