//! `arecord`, recording two channels at 44.1 kHz into memory.

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::servers::Server;

/// Longest that is waited for something to be heard.
const PATIENCE: Duration = Duration::from_secs(40);

/// A recording that goes on. Dropping it ends it.
pub struct Recorder {
    child: Child,
    blocks: Receiver<Vec<i16>>,
    heard: Vec<i16>,
}

impl Recorder {
    /// Records from an ALSA device of this server, in periods of so many frames.
    pub fn start(server: &Server, device: &str, period: usize) -> Self {
        let mut command = server.place.command("arecord");
        command.args(["-q", "-D", device, "-t", "raw", "-f", "S16_LE", "-c", "2", "-r", "44100"]);
        command.args([&format!("--period-size={period}"), "--buffer-size=22050"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("arecord starts");
        let mut stdout = child.stdout.take().expect("it is piped");
        let (sender, blocks) = channel();
        std::thread::spawn(move || {
            let mut octets = vec![0; period * 4];
            while stdout.read_exact(&mut octets).is_ok() {
                let samples = octets.as_chunks().0.iter().map(|two| i16::from_le_bytes(*two)).collect();
                if sender.send(samples).is_err() {
                    return;
                }
            }
        });
        Self { child, blocks, heard: Vec::new() }
    }

    /// Waits until all that was heard so far is as it is to be.
    pub fn wait_until(&mut self, what: &str, done: impl Fn(&[i16]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.heard) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.blocks.recv_timeout(left) {
                Ok(block) => self.heard.extend(block),
                Err(error) => panic!("waited for {what} in vain: {error}"),
            }
        }
    }

    /// What was heard, interleaved, and how often arecord lost something.
    pub fn finish(mut self) -> (Vec<i16>, u64) {
        let _ = self.child.kill();
        let mut words = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut words).expect("arecord writes text");
        (std::mem::take(&mut self.heard), words.matches("overrun").count() as u64)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
