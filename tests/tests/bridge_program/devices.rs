//! A camera and a microphone whose every picture and sample says when it was taken.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nvenc_bridge::picture::Size;
use nvenc_bridge::source::pattern;

use super::reference::{self, RATE};

/// Seconds of the wall clock.
pub(crate) fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A thread that does something until it is dropped.
struct Device {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    fn start(mut step: impl FnMut() -> bool + Send + 'static) -> Self {
        let end = Arc::<AtomicBool>::default();
        let ended = end.clone();
        let thread = std::thread::spawn(move || while !ended.load(Ordering::Relaxed) && step() {});
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sleep_until(at: f64) {
    std::thread::sleep(Duration::from_secs_f64((at - wall()).max(0.0)));
}

/// Writes the test pattern into a FIFO, each picture as YUV4MPEG2 when it is taken.
pub(crate) struct Camera {
    /// Of the FIFO.
    pub(crate) path: String,
    /// Pictures a second.
    hertz: u32,
    /// When the picture of number 0 would have been taken, in seconds of the wall clock.
    epoch: f64,
    _device: Device,
}

impl Camera {
    /// Takes pictures once there is somebody who reads.
    pub(crate) fn start(fifo: &Path, size: Size, hertz: u32) -> Self {
        let path = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a string that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        let epoch = wall().floor();
        let (path, mut begun, mut picture) = (fifo.to_owned(), None, Vec::new());
        let device = Device::start(move || {
            let (file, number) = begun.get_or_insert_with(|| {
                let mut file = OpenOptions::new().write(true).open(&path).unwrap();
                let header = format!("YUV4MPEG2 W{} H{} F{hertz}:1 Ip C420\n", size.width, size.height);
                // A reader that is gone is noticed at the next picture.
                let _ = file.write_all(header.as_bytes());
                (file, ((wall() - epoch) * f64::from(hertz)).ceil() as u64)
            });
            pattern::draw(size, *number, &mut picture);
            sleep_until(epoch + *number as f64 / f64::from(hertz));
            *number += 1;
            file.write_all(b"FRAME\n").and_then(|()| file.write_all(&picture)).is_ok()
        });
        let path = fifo.to_str().unwrap().into();
        Self { path, hertz, epoch, _device: device }
    }

    /// When the picture of this number was taken, in seconds of the wall clock.
    pub(crate) fn taken(&self, number: u32) -> f64 {
        self.epoch + f64::from(number) / f64::from(self.hertz)
    }
}

impl Drop for Camera {
    /// Nobody may have read: the thread waits for somebody.
    fn drop(&mut self) {
        let _ = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path);
    }
}

/// Sends what [`reference::sound`] is now.
pub(crate) struct Microphone(#[allow(dead_code, reason = "it goes on until it is dropped")] Device);

impl Microphone {
    /// To a port of this machine, as L16 of one channel (RFC 3551, payload type 11), in packets of 10 ms.
    pub(crate) fn start(port: u16) -> Self {
        const FRAMES: u64 = RATE as u64 / 100;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut number = (wall() * 100.0).ceil() as u64;
        Self(Device::start(move || {
            let at = number as f64 / 100.0;
            let mut packet = vec![0x80, 11];
            packet.extend((number as u16).to_be_bytes());
            packet.extend(((number * FRAMES) as u32).to_be_bytes());
            packet.extend(0x5eed_u32.to_be_bytes());
            for frame in 0..FRAMES {
                let sample = reference::sound(at.fract() + frame as f64 / RATE as f64);
                packet.extend(((sample * 32_767.0) as i16).to_be_bytes());
            }
            number += 1;
            sleep_until(at);
            // Nobody may listen yet.
            let _ = socket.send_to(&packet, ("127.0.0.1", port));
            true
        }))
    }
}
