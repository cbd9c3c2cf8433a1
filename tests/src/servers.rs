//! Real sound servers without a sound card: PulseAudio with null sinks, JACK with its dummy driver.
//!
//! Each has a folder, a name and an ALSA configuration of its own. Nothing of the machine's own set-up is read or
//! changed, and programs find the server by the environment that they are started with.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::program::{self, Program};

/// Longest that a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder with an ALSA configuration, and the environment that leads programs to it and nowhere else.
pub struct Place {
    folder: TempDir,
    environment: Vec<(&'static str, OsString)>,
    /// Programs go before others that would have the processors, where that is allowed.
    hastens: bool,
}

impl Place {
    /// A folder with this ALSA configuration; the programs see the devices named in it and no others.
    pub fn new(alsa: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let configuration = folder.path().join("asound.conf");
        std::fs::write(&configuration, alsa).expect("the folder is writable");
        let home = folder.path().into();
        let environment = vec![
            ("ALSA_CONFIG_PATH", configuration.into()),
            ("HOME", home),
            ("JACK_DEFAULT_SERVER", "none".into()),
            ("JACK_NO_START_SERVER", "1".into()),
        ];
        Self { folder, environment, hastens: false }
    }

    /// The folder; it goes when this goes.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command in this environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = if self.hastens {
            let mut nice = Command::new("nice");
            nice.args(["-n", "-15"]).arg(program);
            nice
        } else {
            Command::new(program)
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `sender` or `receiver` here, with `--json` and these arguments.
    pub fn program(&self, name: &str, arguments: &[&str]) -> Program {
        let mut command = self.command(program::path(name));
        command.arg("--json").args(arguments);
        Program::spawn(command)
    }

    /// Starts a receiver here, on a port of the system's choice; the address is where to send to.
    pub fn receiver(&self, arguments: &[&str]) -> (Program, SocketAddr) {
        self.program("receiver", &[&["--listen", "127.0.0.1:0"], arguments].concat()).listening()
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
    }
}

/// A name for this test's JACK server, the same in every run: JACK's register has room for eight names, and one that
/// was left there by a server that ended badly is freed only by a server of the same name.
fn server_name() -> String {
    let test = std::env::current_exe().expect("a test has a path");
    test.file_name().expect("it is a file").to_string_lossy().into_owned()
}

/// A sound server that runs. Dropping it ends it.
pub struct Server {
    /// Where its programs run.
    pub place: Place,
    kind: Kind,
    child: Child,
    log: PathBuf,
}

/// Which server, and what it is started with.
enum Kind {
    Pulse { script: PathBuf, socket: PathBuf },
    Jack { name: String, rate: u32, period: u32 },
}

impl Kind {
    fn command(&self, place: &Place, log: &Path) -> Command {
        match self {
            Self::Pulse { script, .. } => {
                let mut command = place.command("chrt");
                command.args(scheduling("50")).arg("pulseaudio").arg("-n").arg("-F").arg(script);
                command.args([
                    "--daemonize=no",
                    "--exit-idle-time=-1",
                    "--use-pid-file=no",
                    "--disable-shm=yes",
                ]);
                command.args(["--realtime=no", "--high-priority=no", "--log-level=debug"]);
                command.arg(format!("--log-target=file:{}", log.display()));
                command
            }
            Self::Jack { name, rate, period } => {
                let mut command = place.command("jackd");
                command.args(["-n", name, "--no-mlock", "-p", "256"]);
                // Real-time, as where people play: below the programs' own threads, above all else here.
                command.args(if may_be_realtime() { &["-R", "-P", "70"][..] } else { &["-r"] });
                command.args(["-d", "dummy", "-C", "2", "-P", "2"]);
                command.args(["-r", &rate.to_string(), "-p", &period.to_string()]);
                command
            }
        }
    }

    /// Words in the log that tell of lost sound.
    fn marks(&self) -> &'static [&'static str] {
        match self {
            Self::Pulse { .. } => &["underrun", "overrun"],
            Self::Jack { .. } => &["XRun"],
        }
    }
}

impl Server {
    /// PulseAudio with null sinks of two channels at 44.1 kHz. ALSA's `SINK` plays into one, and `SINK_mon` captures
    /// what was played.
    ///
    /// # Errors
    /// Why there can be none here.
    pub fn pulse(sinks: &[&str]) -> Result<Self, String> {
        require(&["pulseaudio", "aplay", "arecord"])?;
        let mut place = Place::new("");
        // Its clients' threads for ALSA are ordinary ones, which a busy machine keeps from passing anything on.
        place.hastens = true;
        let run = place.path().join("run");
        std::fs::create_dir(&run).map_err(|error| format!("no folder for PulseAudio: {error}"))?;
        let socket = run.join("native");
        let address = format!("unix:{}", socket.display());
        std::fs::write(place.path().join("asound.conf"), pulse_devices(sinks, &address))
            .map_err(|error| format!("no ALSA configuration: {error}"))?;
        let script = place.path().join("default.pa");
        std::fs::write(&script, pulse_script(sinks, &socket))
            .map_err(|error| format!("no script for PulseAudio: {error}"))?;
        place.set("PULSE_RUNTIME_PATH", run);
        place.set("PULSE_STATE_PATH", place.path().join("state"));
        place.set("PULSE_SERVER", address);
        let server = Self::start(place, Kind::Pulse { script, socket }, "pulse.log")?;
        server.check_capture(sinks[0])?;
        Ok(server)
    }

    /// JACK with its dummy driver, of two channels each way.
    ///
    /// # Errors
    /// Why there can be none here.
    pub fn jack(rate: u32, period: u32) -> Result<Self, String> {
        require(&["jackd", "jack_wait", "jack_connect"])?;
        let mut place = Place::new("");
        let name = server_name();
        place.set("JACK_DEFAULT_SERVER", &name);
        place.set("JACK_NO_AUDIO_RESERVATION", "1");
        Self::start(place, Kind::Jack { name, rate, period }, "jack.log")
    }

    fn start(place: Place, kind: Kind, log: &str) -> Result<Self, String> {
        let log = place.path().join(log);
        let child = launch(&place, &kind, &log)?;
        let mut server = Self { place, kind, child, log };
        server.await_ready()?;
        Ok(server)
    }

    /// Ends the server by this signal, and waits until it has ended.
    pub fn end(&mut self, signal: i32) {
        self.signal(signal);
        let _ = self.child.wait();
    }

    /// Sends a signal to the server, which has not ended.
    pub fn signal(&mut self, signal: i32) {
        if let (true, Ok(id)) = (self.runs(), i32::try_from(self.child.id())) {
            // SAFETY: takes no pointers; the child has not been waited for, so the id is still its own.
            unsafe { libc::kill(id, signal) };
        }
    }

    /// Starts a server that was ended again, as it was. JACK is not waited for: a client knows better when it is there.
    pub fn restart(&mut self) {
        self.child = launch(&self.place, &self.kind, &self.log).expect("it has started before");
        if let Kind::Pulse { .. } = self.kind {
            self.await_ready().expect("it has started before");
        }
    }

    /// Starts a JACK server that was ended again, at another rate.
    pub fn restart_at(&mut self, hertz: u32) {
        if let Kind::Jack { rate, .. } = &mut self.kind {
            *rate = hertz;
        }
        self.restart();
    }

    fn await_ready(&mut self) -> Result<(), String> {
        match &self.kind {
            Kind::Pulse { socket, .. } => self.await_socket(&socket.clone()),
            Kind::Jack { name, .. } => {
                let mut wait = self.place.command("jack_wait");
                wait.args(["-s", name, "-w", "-t", &PATIENCE.as_secs().to_string()]);
                let waited = wait.stdout(Stdio::null()).stderr(Stdio::null()).status();
                match waited {
                    Ok(status) if status.success() && self.runs() => Ok(()),
                    _ => Err(format!("jackd does not start: {}", self.logged())),
                }
            }
        }
    }

    /// How many times the server's log tells of lost sound, up to now.
    pub fn xruns(&self) -> usize {
        let tells = |line: &&str| self.kind.marks().iter().any(|mark| line.contains(mark));
        self.logged().lines().filter(tells).count()
    }

    /// What the server has written.
    pub fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Connects two JACK ports.
    pub fn connect(&self, from: &str, to: &str) {
        let status = self.place.command("jack_connect").args([from, to]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot connect {from} to {to}");
    }

    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn await_socket(&mut self, socket: &Path) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(socket).is_err() {
            if Instant::now() > deadline || !self.runs() {
                return Err(format!("pulseaudio does not start: {}", self.logged()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// ALSA needs a plugin for PulseAudio, which is packaged apart.
    fn check_capture(&self, sink: &str) -> Result<(), String> {
        let mut command = self.place.command("arecord");
        command.args(["-q", "-D", &format!("{sink}_mon"), "-f", "S16_LE", "-t", "raw", "-s", "1"]);
        let output = command.output().map_err(|error| format!("arecord does not start: {error}"))?;
        let words = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("ALSA does not reach PulseAudio: {words}")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while self.runs() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(place: &Place, kind: &Kind, log: &Path) -> Result<Child, String> {
    let file = std::fs::File::create(log).map_err(|error| format!("no log: {error}"))?;
    let copy = file.try_clone().map_err(|error| format!("no log: {error}"))?;
    let mut command = kind.command(place, log);
    let child = command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
    child.map_err(|error| format!("{command:?} does not start: {error}"))
}

fn require(programs: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = programs.iter().copied().filter(|program| !program::has(program)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not installed: {}", missing.join(", "))) }
}

/// Whether this user may have real-time priorities.
fn may_be_realtime() -> bool {
    let status = Command::new("chrt").args(["-f", "1", "true"]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Options of `chrt` that start a program with this real-time priority where that is allowed.
fn scheduling(priority: &str) -> [&str; 2] {
    if may_be_realtime() { ["-f", priority] } else { ["-o", "0"] }
}

fn pulse_devices(sinks: &[&str], address: &str) -> String {
    let mut text = String::new();
    for sink in sinks {
        for (name, device) in
            [((*sink).into(), (*sink).into()), (format!("{sink}_mon"), format!("{sink}.monitor"))]
        {
            // Only what has a hint is listed.
            let _ = writeln!(
                text,
                "pcm.{name} {{ type pulse server \"{address}\" device \"{device}\" hint {{ show on description \"{name}\" }} }}"
            );
        }
    }
    text
}

/// `norewinds`: else an idle sink renders two seconds ahead, and what is played next begins with a gap as long.
/// `channel_map`: else PulseAudio may order channels otherwise than ALSA.
fn pulse_script(sinks: &[&str], socket: &Path) -> String {
    let mut text =
        format!("load-module module-native-protocol-unix auth-anonymous=1 socket={}\n", socket.display());
    for sink in sinks {
        let _ = writeln!(
            text,
            "load-module module-null-sink sink_name={sink} rate=44100 format=s16le channels=2 \
             channel_map=front-left,front-right norewinds=1"
        );
    }
    text
}
