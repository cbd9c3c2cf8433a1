//! Starting the bridge, and asking it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::program::{self, Program};

/// A bridge that runs, on this machine alone.
pub(crate) struct Bridge {
    pub(crate) program: Program,
    pub(crate) port: u16,
    http: u16,
}

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Below those that systems give to whoever connects: among thousands of connections the next one would have it before we do.
    let (first, count) = (20_000, 12_000);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let next = || {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        first + (std::process::id().wrapping_mul(61).wrapping_add(call) % count) as u16
    };
    std::iter::repeat_with(next).take(count as usize).find(free).expect("some port is free")
}

impl Bridge {
    /// Starts it and waits until it serves.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(None, arguments)
    }

    /// The same with the driver's libraries in a folder.
    pub(crate) fn start_with(driver: Option<&Path>, arguments: &[&str]) -> Self {
        let mut bridge = Self::spawn(driver, arguments);
        bridge.program.wait_for("serving");
        bridge
    }

    /// The same of a bridge that was built otherwise.
    pub(crate) fn start_program(program: &Path, arguments: &[&str]) -> Self {
        let mut bridge = Self::spawn_program(program, None, arguments);
        bridge.program.wait_for("serving");
        bridge
    }

    /// Starts it.
    pub(crate) fn spawn(driver: Option<&Path>, arguments: &[&str]) -> Self {
        Self::spawn_program(&program::path("nvenc-bridge"), driver, arguments)
    }

    fn spawn_program(program: &Path, driver: Option<&Path>, arguments: &[&str]) -> Self {
        let (port, http) = (free_port(), free_port());
        let mut command = Command::new(program);
        command.args(["--json", "--bind", "127.0.0.1", "--status-interval", "200ms"]);
        command.args(["--port", &port.to_string(), "--http", &http.to_string()]).args(arguments);
        if let Some(folder) = driver {
            command.env("LD_LIBRARY_PATH", folder);
        }
        Self { program: Program::spawn(command), port, http }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }

    /// Status and body of an answer over HTTP.
    pub(crate) fn ask(&self, line: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http)).unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {answer}"));
        (head[9..12].parse().unwrap(), body.into())
    }

    /// How a stream is.
    pub(crate) fn state(&self, name: &str) -> Value {
        let (status, body) = self.ask(&format!("GET /api/streams/{name}"), "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Changes something of a stream.
    pub(crate) fn change(&self, name: &str, values: &str) {
        let (status, body) = self.ask(&format!("PATCH /api/streams/{name}"), values);
        assert_eq!(status, 200, "{body}");
    }
}

/// Waits for something to become so, for as long as a busy machine may take.
pub(crate) fn becomes(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
