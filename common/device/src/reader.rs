//! Sources that are read rather than called back: files, pipes, test signals.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use audio::resample::Converter;
use hound::{SampleFormat, WavReader, WavSpec};

use crate::error::Error;

/// Something that frames can be read from.
pub(crate) trait Reader: Send {
    /// Appends up to `frames` interleaved frames to `out`; fewer only at the end.
    ///
    /// # Errors
    /// What the file or pipe says; the source has ended then.
    fn read(&mut self, frames: usize, out: &mut Vec<f32>) -> io::Result<()>;
}

/// A WAV file: 8, 16, 24 or 32 bits or float, of any rate.
pub(crate) struct Wav {
    inner: WavReader<BufReader<File>>,
    spec: WavSpec,
    repeat: bool,
    converter: Option<Converter>,
    converted: Vec<f32>,
    used: usize,
    length: u64,
    ended: bool,
}

/// Octets of the smallest header a WAV file can have.
const HEADER: u64 = 44;

impl Wav {
    pub(crate) fn open(path: &Path, rate: u32, repeat: bool) -> Result<Self, Error> {
        let inner = WavReader::open(path).map_err(|error| Error::file(path, reason(&error)))?;
        let spec = inner.spec();
        let size = std::fs::metadata(path).map_err(|error| Error::file(path, error))?.len();
        let promised = u64::from(inner.len()) * u64::from(spec.bits_per_sample.div_ceil(8));
        if HEADER + promised > size {
            let message = format!(
                "the file is truncated: its header promises {promised} octets of sound, it has {size} in all"
            );
            return Err(Error::file(path, message));
        }
        if inner.duration() == 0 {
            return Err(Error::file(path, "the file holds no sound"));
        }
        let known = match spec.sample_format {
            SampleFormat::Int => matches!(spec.bits_per_sample, 8 | 16 | 24 | 32),
            SampleFormat::Float => spec.bits_per_sample == 32,
        };
        if !known {
            return Err(Error::file(
                path,
                format!("samples of {} bits cannot be read", spec.bits_per_sample),
            ));
        }
        if !(1..=255).contains(&spec.channels) || !proto::announce::RATES.contains(&spec.sample_rate) {
            let message = format!("{} channels at {} Hz cannot be streamed", spec.channels, spec.sample_rate);
            return Err(Error::file(path, message));
        }
        let converter =
            (spec.sample_rate != rate).then(|| Converter::new(spec.sample_rate, rate, spec.channels));
        let length = u64::from(inner.duration()) * u64::from(rate) / u64::from(spec.sample_rate);
        Ok(Self { inner, spec, repeat, converter, converted: Vec::new(), used: 0, length, ended: false })
    }

    pub(crate) fn channels(&self) -> u16 {
        self.spec.channels
    }

    /// Frames at the stream's rate, unless it repeats for ever.
    pub(crate) fn length(&self) -> Option<u64> {
        (!self.repeat).then_some(self.length)
    }

    fn read_file(&mut self, frames: usize, out: &mut Vec<f32>) -> io::Result<()> {
        let mut missing = frames * usize::from(self.spec.channels);
        while missing > 0 && !self.ended {
            let before = out.len();
            read_samples(&mut self.inner, self.spec, missing, out)?;
            let got = out.len() - before;
            missing -= got;
            if got == 0 && self.repeat {
                self.inner.seek(0)?;
            } else if got == 0 {
                self.ended = true;
            }
        }
        Ok(())
    }
}

fn reason(error: &hound::Error) -> String {
    match error {
        hound::Error::FormatError(what) => format!("not a WAV file that can be read: {what}"),
        hound::Error::Unsupported => {
            "this kind of WAV file is not supported; use PCM or float samples".into()
        }
        other => other.to_string(),
    }
}

fn read_samples(
    inner: &mut WavReader<BufReader<File>>,
    spec: WavSpec,
    count: usize,
    out: &mut Vec<f32>,
) -> io::Result<()> {
    let failed = |error: hound::Error| io::Error::other(error.to_string());
    match spec.sample_format {
        SampleFormat::Float => {
            for sample in inner.samples::<f32>().take(count) {
                out.push(sample.map_err(failed)?);
            }
        }
        SampleFormat::Int => {
            let scale = 1.0 / (1u64 << (spec.bits_per_sample - 1)) as f32;
            for sample in inner.samples::<i32>().take(count) {
                out.push(sample.map_err(failed)? as f32 * scale);
            }
        }
    }
    Ok(())
}

impl Reader for Wav {
    fn read(&mut self, frames: usize, out: &mut Vec<f32>) -> io::Result<()> {
        let Some(mut converter) = self.converter.take() else {
            return self.read_file(frames, out);
        };
        let wanted = frames * usize::from(self.spec.channels);
        let mut piece = Vec::new();
        while self.converted.len() - self.used < wanted && !self.ended {
            piece.clear();
            self.read_file(1024, &mut piece)?;
            converter.process(&piece, &mut self.converted);
            if self.ended {
                converter.finish(&mut self.converted);
            }
        }
        let taken = wanted.min(self.converted.len() - self.used);
        out.extend_from_slice(&self.converted[self.used..self.used + taken]);
        self.used += taken;
        if self.used > 1 << 16 {
            self.converted.drain(..self.used);
            self.used = 0;
        }
        self.converter = Some(converter);
        Ok(())
    }
}

/// Raw interleaved signed 16-bit little-endian PCM.
pub(crate) struct Raw {
    from: Box<dyn Read + Send>,
    frame: usize,
    octets: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(from: Box<dyn Read + Send>, channels: u16) -> Self {
        Self { from, frame: usize::from(channels) * proto::pcm::BYTES_PER_SAMPLE, octets: Vec::new() }
    }
}

impl Reader for Raw {
    fn read(&mut self, frames: usize, out: &mut Vec<f32>) -> io::Result<()> {
        self.octets.clear();
        let limit = (frames * self.frame) as u64;
        self.from.by_ref().take(limit).read_to_end(&mut self.octets)?;
        // What is left of a frame at the end of a pipe is no sound.
        let whole = self.octets.len() / self.frame * self.frame;
        let pairs = self.octets[..whole].as_chunks::<2>().0;
        out.extend(pairs.iter().map(|pair| proto::pcm::sample(i16::from_le_bytes(*pair))));
        Ok(())
    }
}

/// A sine in each channel, at multiples of one pitch, a quarter of full scale.
pub(crate) struct Tone {
    step: f64,
    channels: u16,
    frame: u64,
}

impl Tone {
    pub(crate) fn new(pitch: f64, channels: u16, rate: u32) -> Self {
        Self { step: pitch / f64::from(rate), channels, frame: 0 }
    }
}

impl Reader for Tone {
    fn read(&mut self, frames: usize, out: &mut Vec<f32>) -> io::Result<()> {
        for _ in 0..frames {
            for channel in 1..=self.channels {
                let turns = (self.step * f64::from(channel) * self.frame as f64).fract();
                out.push((turns * std::f64::consts::TAU).sin() as f32 * 0.25);
            }
            self.frame += 1;
        }
        Ok(())
    }
}

pub(crate) struct Silence {
    pub(crate) channels: u16,
}

impl Reader for Silence {
    fn read(&mut self, frames: usize, out: &mut Vec<f32>) -> io::Result<()> {
        out.resize(out.len() + frames * usize::from(self.channels), 0.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_wav(path: &Path, spec: WavSpec, samples: &[i32]) {
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for &sample in samples {
            match spec.sample_format {
                SampleFormat::Int => writer.write_sample(sample).unwrap(),
                SampleFormat::Float => writer.write_sample(sample as f32 / 32_768.0).unwrap(),
            }
        }
        writer.finalize().unwrap();
    }

    fn spec(bits_per_sample: u16, sample_format: SampleFormat, sample_rate: u32) -> WavSpec {
        WavSpec { channels: 2, sample_rate, bits_per_sample, sample_format }
    }

    #[test]
    fn every_sample_format_reads_as_the_same_sound() {
        let folder = tempfile::tempdir().unwrap();
        let values = [0, 1, -1, 100, -100, 127, -128, 64];
        let shapes = [
            (8, SampleFormat::Int, 256),
            (16, SampleFormat::Int, 1),
            (24, SampleFormat::Int, 1),
            (32, SampleFormat::Int, 1),
            (32, SampleFormat::Float, 1),
        ];
        for (bits, format, divisor) in shapes {
            let path = folder.path().join(format!("{bits}{format:?}.wav"));
            let scale = if format == SampleFormat::Int && bits > 16 { 1 << (bits - 16) } else { 1 };
            let written: Vec<i32> = values.iter().map(|value| value * scale).collect();
            write_wav(&path, spec(bits, format, 44_100), &written);
            let mut wav = Wav::open(&path, 44_100, false).unwrap();
            assert_eq!((wav.channels(), wav.length()), (2, Some(4)));
            let mut out = Vec::new();
            wav.read(3, &mut out).unwrap();
            wav.read(3, &mut out).unwrap();
            wav.read(3, &mut out).unwrap();
            let expected: Vec<f32> = values.iter().map(|v| *v as f32 * divisor as f32 / 32_768.0).collect();
            assert_eq!(out, expected, "{bits} {format:?}");
        }
    }

    #[test]
    fn a_file_repeats_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        write_wav(&path, spec(16, SampleFormat::Int, 44_100), &[1, 2, 3, 4]);
        let mut wav = Wav::open(&path, 44_100, true).unwrap();
        let mut out = Vec::new();
        wav.read(5, &mut out).unwrap();
        let values: Vec<i16> = out.iter().map(|sample| proto::pcm::quantise(*sample)).collect();
        assert_eq!(values, [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]);
        assert_eq!(wav.length(), None);
    }

    #[test]
    fn another_rate_is_converted_and_keeps_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        write_wav(&path, spec(16, SampleFormat::Int, 48_000), &vec![1000; 2 * 48_000]);
        let mut wav = Wav::open(&path, 44_100, false).unwrap();
        let mut out = Vec::new();
        while {
            let before = out.len();
            wav.read(500, &mut out).unwrap();
            out.len() > before
        } {}
        let frames = out.len() / 2;
        assert_eq!(frames, 44_100);
        assert!((out[44_100] - 1000.0 / 32_768.0).abs() < 1e-5);
    }

    #[test]
    fn truncated_empty_and_foreign_files_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let open = || Wav::open(&path, 44_100, false).map(|_| ()).unwrap_err().to_string();
        assert!(open().contains("No such file"), "{}", open());
        write_wav(&path, spec(16, SampleFormat::Int, 44_100), &[7; 2000]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..1000]).unwrap();
        assert!(open().contains("truncated"), "{}", open());
        std::fs::write(&path, &whole[..20]).unwrap();
        assert!(!open().is_empty());
        std::fs::write(&path, b"not a wave file at all, only some text").unwrap();
        assert!(open().contains("not a WAV"), "{}", open());
        write_wav(&path, spec(16, SampleFormat::Int, 44_100), &[]);
        assert!(open().contains("no sound"), "{}", open());
    }

    #[test]
    fn raw_pcm_drops_what_is_left_of_a_frame() {
        static OCTETS: [u8; 11] = [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 9];
        let mut raw = Raw::new(Box::new(&OCTETS[..]), 2);
        let mut out = Vec::new();
        raw.read(10, &mut out).unwrap();
        assert_eq!(out.len(), 4);
        raw.read(10, &mut out).unwrap();
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn a_tone_has_its_pitch_in_every_channel() {
        let mut out = Vec::new();
        Tone::new(441.0, 2, 44_100).read(44_100, &mut out).unwrap();
        for channel in 0..2 {
            let crossings = out
                .iter()
                .skip(channel)
                .step_by(2)
                .zip(out.iter().skip(channel + 2).step_by(2))
                .filter(|(a, b)| **a < 0.0 && **b >= 0.0)
                .count();
            assert!((crossings as i64 - 441 * (channel as i64 + 1)).abs() <= 1, "{crossings}");
        }
    }
}
