//! What the tests share: starting the programs, reading what they say, sound that names its own faults.

pub mod canary;
pub mod figures;
pub mod flood;
pub mod hosts;
pub mod pilot;
pub mod program;
pub mod recorder;
pub mod servers;
pub mod sound;
pub mod world;
