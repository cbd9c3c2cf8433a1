//! The programs as processes: built once, started with `--json`, ended by their own id.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest that a program may take to say something it has to say.
const PATIENCE: Duration = Duration::from_secs(20);

/// The path of `sender`, `receiver` or `nvenc-bridge`, built as the tests are built.
pub fn path(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| build(&[]).expect("the programs build")).join(name)
}

/// Builds the programs, with more arguments for cargo, and returns the folder that they are in; `None` where they do not build.
/// All of the workspace, so that it is what tests/check has built.
pub fn build(arguments: &[&str]) -> Option<PathBuf> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile, "--workspace", "--bins"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    if !status.success() {
        return None;
    }
    // A test is in target/PROFILE/deps, the programs and other binaries are in target/PROFILE.
    let this = std::env::current_exe().expect("a program has a path");
    let folder = this.parent().expect("a program is in a folder");
    let above = folder.parent().filter(|_| folder.ends_with("deps"));
    Some(above.unwrap_or(folder).to_path_buf())
}

/// A program that runs. Dropping it kills it.
pub struct Program {
    child: Child,
    events: Receiver<Value>,
    stderr: Option<JoinHandle<String>>,
    /// Everything it has said, in order.
    pub said: Vec<Value>,
}

/// What a program has left behind.
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it said on standard output, in order.
    pub said: Vec<Value>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// The last thing of this kind that it said.
    pub fn last(&self, kind: &str) -> &Value {
        let found = self.said.iter().rev().find(|event| event["type"] == kind);
        found.unwrap_or_else(|| panic!("no `{kind}` among {:#?}; standard error: {}", self.said, self.stderr))
    }
}

impl Program {
    /// Starts a program with `--json` and these arguments.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(path(name));
        command.arg("--json").args(arguments);
        Self::spawn(command)
    }

    /// Starts a command whose standard output is JSON, an object a line.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for event in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            // A program that is killed within a character is no test's business.
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, events, stderr: Some(stderr), said: Vec::new() }
    }

    /// Starts a receiver on a port of the system's choice; the address is where to send to.
    pub fn receiver(arguments: &[&str]) -> (Self, SocketAddr) {
        Self::start("receiver", &[&["--listen", "127.0.0.1:0"], arguments].concat()).listening()
    }

    /// The receiver, once it says where it listens, and that address.
    pub fn listening(mut self) -> (Self, SocketAddr) {
        let said = self.wait_for("listening");
        let address = said["address"].as_str().and_then(|text| text.parse().ok());
        (self, address.expect("it says its address"))
    }

    /// Waits until it says something of this kind, from now on.
    pub fn wait_for(&mut self, kind: &str) -> Value {
        self.wait_until(kind, |_| true)
    }

    /// Waits until it says something of this kind that fits.
    pub fn wait_until(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                let _ = self.child.kill();
                let stderr = self.stderr.take().map(|thread| thread.join().unwrap_or_default());
                panic!("waited for `{kind}` in vain; it said {:#?}, and {stderr:?}", self.said);
            };
            self.said.push(event.clone());
            if event["type"] == kind && fits(&event) {
                return event;
            }
        }
    }

    /// The next thing it has said, if any.
    pub fn poll(&mut self) -> Option<Value> {
        let event = self.events.try_recv().ok()?;
        self.said.push(event.clone());
        Some(event)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it holds, in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        number.unwrap_or_else(|| panic!("nothing is known of its memory: {status}"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("process ids are small");
        // SAFETY: takes no pointers; the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// Ends it by SIGINT, as a person would, and waits.
    pub fn interrupt(self) -> Ended {
        self.signal(libc::SIGINT);
        self.wait(PATIENCE)
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("still running after {patience:?}; it said {:#?}", self.said.last());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.events.iter());
        let stderr = self.stderr.take().map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
        Ended { status, said, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until no other test of this file runs that holds this: each would disturb the other's timing, or take its names and
/// ports.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed says so itself.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that a variable of the environment sets, or else this one.
pub fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A fresh key file in this folder; its path.
pub fn keygen(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let made = Command::new(self::path("sender")).arg("keygen").arg(&path).status();
    assert!(made.expect("the sender starts").success());
    path.to_str().expect("temporary names are text").into()
}

/// Says on standard output why a test cannot be run here. Nothing is skipped in silence.
pub fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
}

/// Whether this is root.
pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Whether a program is installed.
pub fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
