//! Sound files for tests. A ramp's samples are their own index, so that a lost, repeated or swapped one names itself.

use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// A sound of interleaved 16-bit samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Channels.
    pub channels: u16,
    /// Frames a second.
    pub rate: u32,
    /// Interleaved samples.
    pub samples: Vec<i16>,
}

impl Sound {
    /// `frames` frames in which each sample is its frame's index plus 1000 for each channel, wrapping.
    pub fn ramp(channels: u16, rate: u32, frames: usize) -> Self {
        let sample = |index: usize| {
            let (frame, channel) = (index / usize::from(channels), index % usize::from(channels));
            (frame + 1000 * channel) as i16
        };
        Self { channels, rate, samples: (0..frames * usize::from(channels)).map(sample).collect() }
    }

    /// Real recordings where Debian's package alsa-utils has left some, one after the other, from another place in each
    /// channel; else noise. No two channels are alike. Also says which it is.
    pub fn recordings(channels: u16, rate: u32, frames: usize) -> (Self, &'static str) {
        let folder = Path::new("/usr/share/sounds/alsa");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = files.map(|entry| entry.path()).collect();
        paths.sort();
        let mut material: Vec<i16> = paths.iter().flat_map(|path| first_channel(path)).collect();
        let kind = if material.is_empty() { "noise" } else { "recordings" };
        if material.is_empty() {
            let mut state = 1u32;
            material.extend((0..480_000).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 18) as i16 - 8192
            }));
        }
        let width = usize::from(channels);
        let sample = |index: usize| {
            let (frame, channel) = (index / width, index % width);
            material[(frame + channel * material.len() / width) % material.len()]
        };
        (Self { channels, rate, samples: (0..frames * width).map(sample).collect() }, kind)
    }

    /// Frames.
    pub fn frames(&self) -> usize {
        self.samples.len() / usize::from(self.channels)
    }

    /// One channel.
    pub fn channel(&self, channel: u16) -> Vec<i16> {
        self.samples.iter().skip(channel.into()).step_by(self.channels.into()).copied().collect()
    }

    /// The saturated sum of some channels.
    pub fn sum(&self, channels: &[u16]) -> Vec<i16> {
        let frames = self.samples.chunks_exact(self.channels.into());
        let sum = |frame: &[i16]| channels.iter().map(|&c| i32::from(frame[usize::from(c)])).sum::<i32>();
        frames.map(|frame| sum(frame).clamp(-32_768, 32_767) as i16).collect()
    }

    /// Reads a 16-bit WAV file.
    pub fn read(path: &Path) -> Self {
        let mut reader = WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let spec = reader.spec();
        let samples = reader.samples::<i16>().collect::<Result<_, _>>();
        let samples = samples.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { channels: spec.channels, rate: spec.sample_rate, samples }
    }

    /// Writes a 16-bit WAV file.
    pub fn write(&self, path: &Path) {
        let spec = WavSpec {
            channels: self.channels,
            sample_rate: self.rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut writer = WavWriter::create(path, spec).expect("the folder is writable");
        for sample in &self.samples {
            writer.write_sample(*sample).expect("the disk has room");
        }
        writer.finalize().expect("the disk has room");
    }
}

fn first_channel(path: &Path) -> Vec<i16> {
    let Ok(mut reader) = WavReader::open(path) else { return Vec::new() };
    let channels = usize::from(reader.spec().channels);
    reader.samples::<i16>().step_by(channels).map_while(Result::ok).collect()
}

/// Asserts that two runs of samples are the same, and names the first place where they are not.
pub fn assert_same(heard: &[i16], sent: &[i16], what: &str) {
    if let Some(at) = heard.iter().zip(sent).position(|(heard, sent)| heard != sent) {
        let around = |samples: &[i16]| samples[at.saturating_sub(2)..samples.len().min(at + 6)].to_vec();
        panic!("{what}: sample {at} differs: heard {:?}, sent {:?}", around(heard), around(sent));
    }
    assert_eq!(heard.len(), sent.len(), "{what}: number of samples");
}
