//! Sinks that are written to: WAV files, standard output, nothing. They have no clock and take what comes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};
use proto::pcm;
use ringbuf::HeapCons;
use ringbuf::traits::Consumer;

use crate::error::Error;
use crate::playback::Drain;
use crate::virtual_card::{FILE_PATIENCE, Running};

/// How often the rings are looked at.
const INTERVAL: Duration = Duration::from_millis(5);
/// How often a WAV file's header is brought up to date, so that a killed process leaves a file that plays.
const HEADER_EVERY: Duration = Duration::from_secs(1);

/// How long a program at the other end of a pipe may take to read what is left.
const PIPE_PATIENCE: Duration = Duration::from_secs(2);
/// Octets of sound that a WAV file can hold: its length fields have 32 bits.
const LARGEST_WAV: u64 = u32::MAX as u64 - 1024;

/// Where frames are written.
pub(crate) enum Writer {
    Wav(WavFile),
    Stdout,
    Null,
}

impl Writer {
    fn write(&mut self, samples: &[f32]) -> Result<(), Error> {
        match self {
            Self::Wav(file) => file.write(samples),
            Self::Stdout => write_raw(&mut std::io::stdout().lock(), samples).map_err(Error::System),
            Self::Null => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Error> {
        match self {
            Self::Wav(file) => file.finish(),
            Self::Stdout => std::io::stdout().flush().map_err(Error::System),
            Self::Null => Ok(()),
        }
    }
}

fn write_raw(out: &mut impl Write, samples: &[f32]) -> std::io::Result<()> {
    let mut octets = [0; 2048];
    for part in samples.chunks(octets.len() / 2) {
        let used = &mut octets[..part.len() * 2];
        for (sample, pair) in part.iter().zip(used.as_chunks_mut::<2>().0) {
            pcm::write_sample(*sample, pcm::ByteOrder::Little, pair);
        }
        out.write_all(used)?;
    }
    out.flush()
}

/// A 16-bit WAV file that grows.
pub(crate) struct WavFile {
    inner: WavWriter<BufWriter<File>>,
    path: PathBuf,
    octets: u64,
}

impl WavFile {
    pub(crate) fn create(path: &Path, rate: u32, channels: u16) -> Result<Self, Error> {
        let spec =
            WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let inner = WavWriter::create(path, spec).map_err(|error| Error::file(path, error))?;
        Ok(Self { inner, path: path.into(), octets: 0 })
    }

    pub(crate) fn write(&mut self, samples: &[f32]) -> Result<(), Error> {
        self.octets += (samples.len() * pcm::BYTES_PER_SAMPLE) as u64;
        if self.octets > LARGEST_WAV {
            return Err(Error::file(&self.path, "the file is full: a WAV file holds 4 GiB"));
        }
        for sample in samples {
            let written = self.inner.write_sample(pcm::quantise(*sample));
            written.map_err(|error| Error::file(&self.path, error))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.inner.flush().map_err(|error| Error::file(&self.path, error))
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        self.inner.finalize().map_err(|error| Error::file(&self.path, error))
    }
}

/// Writes what the ring brings, until stopped and empty.
pub(crate) fn start(mut writer: Writer, drain: Drain) -> Result<Running, Error> {
    let patience = if matches!(writer, Writer::Stdout) { PIPE_PATIENCE } else { FILE_PATIENCE };
    Running::spawn("write", patience, move |stop| {
        let (mut samples, report) = drain.into_parts();
        let mut block = vec![0.0; 8192];
        let mut header_due = std::time::Instant::now() + HEADER_EVERY;
        loop {
            // Read before the ring is found empty, so that what was pushed before the stop is written.
            let stopping = stop.load(Ordering::Acquire);
            if let Err(error) = write_waiting(&mut samples, &mut block, &mut writer) {
                return report(error);
            }
            if stopping {
                break;
            }
            if let Writer::Wav(file) = &mut writer
                && std::time::Instant::now() >= header_due
            {
                header_due += HEADER_EVERY;
                if let Err(error) = file.flush() {
                    return report(error);
                }
            }
            std::thread::sleep(INTERVAL);
        }
        if let Err(error) = writer.finish() {
            report(error);
        }
    })
}

fn write_waiting(samples: &mut HeapCons<f32>, block: &mut [f32], writer: &mut Writer) -> Result<(), Error> {
    loop {
        let count = samples.pop_slice(block);
        if count == 0 {
            return Ok(());
        }
        writer.write(&block[..count])?;
    }
}
