//! A stand-in for NVIDIA's driver, to be opened in its place: `libcuda` and `libnvidia-encode` behind their C interface.
//!
//! It is written in C against a header that is not ours, so that what it understands is a witness of our own declarations. It
//! holds clients to the interface's rules, writes what it was asked into a log, gives real H.264, and fails as it is told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// A driver of its own: a folder with both libraries, its script and its log.
pub struct Double {
    folder: TempDir,
}

/// A program that prints sizes and places by the header; nothing where it could not be built.
#[must_use]
pub fn layout() -> Option<&'static Path> {
    built(env!("NVENC_LAYOUT"))
}

fn built(path: &'static str) -> Option<&'static Path> {
    if path.is_empty() {
        println!("skipped: no cc, libffmpeg-nvenc-dev or libopenh264-dev here");
        return None;
    }
    Some(Path::new(path))
}

impl Double {
    /// A driver that behaves as the script says, in lines of a word and a value; the words are in `c/double.h`.
    /// Nothing where it could not be built, with the reason on standard output.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn new(script: &str) -> io::Result<Option<Self>> {
        let Some(library) = built(env!("NVENC_DOUBLE")) else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        // A copy is a library of its own to the loader, with a state of its own; both names lead to the same one.
        let copy = folder.path().join("double.so");
        fs::copy(library, &copy)?;
        for name in ["libcuda.so.1", "libnvidia-encode.so.1"] {
            std::os::unix::fs::symlink(&copy, folder.path().join(name))?;
        }
        fs::write(folder.path().join("script"), script)?;
        Ok(Some(Self { folder }))
    }

    /// Where the libraries are: for `LD_LIBRARY_PATH`, for example.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that was logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Logged calls of one name.
    #[must_use]
    pub fn calls(&self, name: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["call"] == name).collect()
    }

    /// Rules that were broken.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.log().iter().filter_map(|line| line["violation"].as_str().map(str::to_owned)).collect()
    }

    /// All ffmpegs that are installed: the system's, and a newer one from the Python package `imageio-ffmpeg`.
    #[must_use]
    pub fn ffmpegs() -> Vec<PathBuf> {
        let newer = Command::new("python3")
            .args(["-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"])
            .output();
        let newer =
            newer.map(|output| String::from_utf8_lossy(&output.stdout).trim().into()).unwrap_or_default();
        let runs = |path: &PathBuf| {
            Command::new(path).arg("-version").output().is_ok_and(|output| output.status.success())
        };
        [PathBuf::from("ffmpeg"), newer].into_iter().filter(runs).collect()
    }

    /// Makes bits of `hevc` or `av1` by an installed ffmpeg, for the script's line of that name: one key picture, and 29 others.
    #[must_use]
    pub fn bits(folder: &Path, codec: &str, size: &str) -> Option<PathBuf> {
        let (encoder, format): (&[&str], _) = match codec {
            "hevc" => (
                &[
                    "libx265",
                    "-preset",
                    "ultrafast",
                    "-tune",
                    "zerolatency",
                    "-x265-params",
                    "log-level=none",
                ],
                "hevc",
            ),
            _ => (&["libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0"], "obu"),
        };
        let path = folder.join(codec);
        let made = Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                &format!("testsrc2=s={size}:r=30"),
                "-frames:v",
                "30",
                "-g",
                "30",
                "-c:v",
            ])
            .args(encoder)
            .args(["-f", format])
            .arg(&path)
            .status();
        if made.is_ok_and(|status| status.success()) {
            return Some(path);
        }
        println!("skipped: no ffmpeg with an encoder of {codec} here");
        None
    }
}
