//! Octets of one program after another: a file, standard input, a FIFO, a local socket, the output of an ffmpeg of our own.

use std::env::consts::OS;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::capture::Capture;
use crate::picture::Size;

/// Between two looks whether anybody is there, or all shall stop.
const CALL: Duration = Duration::from_millis(20);

/// Where octets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, read again and again where so asked.
    File(PathBuf, bool),
    /// Standard input, which ends once.
    Stdin,
    /// A FIFO: programs that write come and go.
    Fifo(PathBuf),
    /// A socket of this machine, where we listen: programs come one after another.
    Socket(PathBuf),
    /// A video file by an installed ffmpeg, again and again where so asked.
    Video(PathBuf, bool),
    /// A camera or a screen by an installed ffmpeg.
    Capture(Capture),
}

/// Reads from a place.
pub struct Pipe {
    place: Place,
    current: Option<Box<dyn Read + Send>>,
    child: Option<(Child, JoinHandle<String>)>,
    #[cfg(unix)]
    listener: Option<Listener>,
    /// A FIFO stays open from one program to the next, so that none finds it without a reader.
    #[cfg(unix)]
    fifo: Option<std::fs::File>,
    begun: bool,
    stop: Arc<AtomicBool>,
}

impl Pipe {
    /// Nothing is opened yet. `stop` ends every wait, but that for standard input.
    pub fn new(place: Place, stop: Arc<AtomicBool>) -> Self {
        Self {
            place,
            current: None,
            child: None,
            #[cfg(unix)]
            listener: None,
            #[cfg(unix)]
            fifo: None,
            begun: false,
            stop,
        }
    }

    /// Waits for the next program, or begins the file again. `false` where there is none.
    ///
    /// # Errors
    /// One line that names the place and what to do.
    pub fn turn_over(&mut self) -> Result<bool, String> {
        let first = !std::mem::replace(&mut self.begun, true);
        self.current = None;
        self.conclude()?;
        self.current = match &self.place {
            Place::File(path, repeat) if first || *repeat => Some(Box::new(open(path)?)),
            Place::Stdin if first => Some(Box::new(io::stdin())),
            Place::Video(path, repeat) if first => {
                let child = ffmpeg(&video(path, *repeat), None).map_err(|error| {
                    format!(
                        "{}: video files need an installed ffmpeg, and it cannot be started: {error}; FILE.y4m needs none",
                        path.display()
                    )
                })?;
                output(self.child.insert(child))
            }
            Place::Capture(capture) if first => {
                let input = capture.input(OS, std::env::var("DISPLAY").ok().as_deref())?;
                let child = ffmpeg(&input, capture.size).map_err(|error| {
                    format!("{capture}: cameras and screens need an installed ffmpeg, and it cannot be started: {error}")
                })?;
                output(self.child.insert(child))
            }
            #[cfg(unix)]
            Place::Fifo(path) => writer(path, &mut self.fifo, &self.stop)?,
            #[cfg(unix)]
            Place::Socket(path) => {
                if self.listener.is_none() {
                    self.listener = Some(Listener::new(path)?);
                }
                self.listener.as_ref().map_or(Ok(None), |listener| listener.accept(&self.stop))?
            }
            #[cfg(not(unix))]
            Place::Fifo(path) | Place::Socket(path) => {
                return Err(format!("{}: this system has no such thing; use standard input", path.display()));
            }
            Place::Capture(capture) => {
                return Err(format!("{capture}: it gives no more pictures; {}", capture.advice(OS)));
            }
            Place::File(..) | Place::Stdin | Place::Video(..) => None,
        };
        Ok(self.current.is_some())
    }

    /// Reads until `buffer` is full, the program has ended, or all shall stop: so many octets.
    ///
    /// # Errors
    /// One line with the system's reason.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let Some(current) = &mut self.current else { return Ok(0) };
        let mut filled = 0;
        while filled < buffer.len() && !self.stop.load(Ordering::Relaxed) {
            match current.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(octets) => filled += octets,
                // Only who has started this program decides whether its standard input waits.
                Err(error) if is_nothing_yet(&error) && matches!(self.place, Place::Stdin) => {
                    std::thread::sleep(CALL);
                }
                Err(error) if is_nothing_yet(&error) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(format!("{}: {error}", self.place)),
            }
        }
        Ok(filled)
    }

    /// Whether programs come and go, so that one that writes something else can be let go.
    pub fn comes_again(&self) -> bool {
        matches!(self.place, Place::Fifo(_) | Place::Socket(_))
    }

    /// Whether all shall stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends an ffmpeg of ours that writes no more.
    ///
    /// # Errors
    /// What it has to say where it failed.
    pub fn conclude(&mut self) -> Result<(), String> {
        let Some((mut child, said)) = self.child.take() else { return Ok(()) };
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => {
                let said = said.join().unwrap_or_default();
                Err(match &self.place {
                    Place::Capture(capture) => format!("{capture}: {said}; {}", capture.advice(OS)),
                    place => format!("{place}: {said}"),
                })
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path, _) | Self::Fifo(path) | Self::Video(path, _) => path.display().fmt(f),
            Self::Capture(capture) => capture.fmt(f),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether a wait has ended without anything.
fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn open(path: &Path) -> Result<std::fs::File, String> {
    std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The input's arguments of an ffmpeg that reads a video file.
fn video(path: &Path, repeat: bool) -> Vec<OsString> {
    // `file:` keeps a name with a colon from being taken for a protocol.
    let mut input = OsString::from("file:");
    input.push(path);
    let again: &[&str] = if repeat { &["-stream_loop", "-1"] } else { &[] };
    again.iter().map(OsString::from).chain(["-i".into(), input]).collect()
}

/// An ffmpeg that writes pictures as YUV4MPEG2, in the colours that we send and perhaps another size; with the last that it says.
fn ffmpeg(input: &[impl AsRef<OsStr>], size: Option<Size>) -> io::Result<(Child, JoinHandle<String>)> {
    let size = size.map_or(String::new(), |Size { width, height }| format!("{width}:{height}:"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]).args(input);
    command.args(["-map", "0:v:0", "-vf", &format!("scale={size}out_color_matrix=bt709:out_range=tv")]);
    command.args(["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // An interrupt from the terminal is for us alone: were ffmpeg to end first, it would look as if it had failed.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    let errors = child.stderr.take();
    // All that it says is read, or it would wait for that one day.
    let said = std::thread::spawn(move || {
        let lines = errors.map(|errors| BufReader::new(errors).lines().map_while(Result::ok));
        lines.and_then(Iterator::last).unwrap_or_else(|| "ffmpeg has failed".into())
    });
    Ok((child, said))
}

fn output((child, _): &mut (Child, JoinHandle<String>)) -> Option<Box<dyn Read + Send>> {
    child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>)
}

/// Waits for a program that writes.
#[cfg(unix)]
fn writer(
    path: &Path,
    fifo: &mut Option<std::fs::File>,
    stop: &AtomicBool,
) -> Result<Option<Box<dyn Read + Send>>, String> {
    use std::os::unix::fs::OpenOptionsExt;
    let refuse = |error: io::Error| format!("{}: {error}", path.display());
    // Without waiting, so that opening does not outlast a stop.
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let opened = fifo.take().map_or_else(|| options.open(path), Ok).map_err(refuse)?;
    let mut file = Patient(opened.try_clone().map_err(refuse)?);
    *fifo = Some(opened);
    let mut first = [0];
    while !stop.load(Ordering::Relaxed) {
        match file.read(&mut first) {
            Ok(0) => std::thread::sleep(CALL),
            Ok(_) => return Ok(Some(Box::new(io::Cursor::new(first).chain(file)))),
            Err(error) if is_nothing_yet(&error) => {}
            Err(error) => return Err(refuse(error)),
        }
    }
    Ok(None)
}

/// A FIFO that is waited for, no longer than [`CALL`] at a time. It is open without waiting, and to sleep instead would cost a
/// large picture that time again and again, since a FIFO holds but a part of it.
#[cfg(unix)]
struct Patient(std::fs::File);

#[cfg(unix)]
impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        match self.0.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let patience = Timespec::try_from(CALL).unwrap_or_default();
                poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience))?;
                self.0.read(buffer)
            }
            read => read,
        }
    }
}

/// A socket that we listen on, whose file goes with it.
#[cfg(unix)]
struct Listener {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
}

#[cfg(unix)]
impl Listener {
    fn new(path: &Path) -> Result<Self, String> {
        use std::os::unix::net::{UnixListener, UnixStream};
        let refuse = |error: io::Error| format!("unix:{}: {error}", path.display());
        // The file of a program that has ended without removing it is in the way; one that is heard is not ours.
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && UnixStream::connect(path).is_err() => {
                std::fs::remove_file(path).and_then(|()| UnixListener::bind(path)).map_err(refuse)?
            }
            bound => bound.map_err(refuse)?,
        };
        listener.set_nonblocking(true).map_err(refuse)?;
        Ok(Self { listener, path: path.into() })
    }

    fn accept(&self, stop: &AtomicBool) -> Result<Option<Box<dyn Read + Send>>, String> {
        let refuse = |error: io::Error| format!("unix:{}: {error}", self.path.display());
        while !stop.load(Ordering::Relaxed) {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).map_err(refuse)?;
                    // Long enough to cost nothing, short enough to stop at once.
                    stream.set_read_timeout(Some(CALL)).map_err(refuse)?;
                    return Ok(Some(Box::new(stream)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(CALL),
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(refuse(error)),
            }
        }
        Ok(None)
    }
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
