//! What people see while a program runs: live lines on a terminal, plain lines in a pipe, JSON for programs.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

/// How the state is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines that are rewritten in place.
    Terminal,
    /// A block of lines now and then.
    Lines,
    /// One JSON object a line.
    Json,
}

/// Shows state and events on one stream. Standard error, unless JSON has standard output to itself.
pub struct Display {
    out: Box<dyn Write>,
    mode: Mode,
    /// Live lines on the screen now.
    lines: usize,
    interval: Duration,
    due: Instant,
}

impl Display {
    /// A display that shows the state every `interval`, or at the mode's own pace. JSON goes to standard output unless
    /// that carries sound.
    pub fn new(json: bool, stdout_is_sound: bool, interval: Option<Duration>) -> Self {
        let mode = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Json,
            (false, true) => Mode::Terminal,
            (false, false) => Mode::Lines,
        };
        let out: Box<dyn Write> =
            if json && !stdout_is_sound { Box::new(std::io::stdout()) } else { Box::new(std::io::stderr()) };
        Self::onto(out, mode, interval)
    }

    fn onto(out: Box<dyn Write>, mode: Mode, interval: Option<Duration>) -> Self {
        let own = match mode {
            Mode::Terminal => Duration::from_millis(250),
            Mode::Lines => Duration::from_secs(10),
            Mode::Json => Duration::from_secs(1),
        };
        let interval = interval.unwrap_or(own);
        Self { out, mode, lines: 0, interval, due: Instant::now() + interval }
    }

    /// How the state is shown.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it is time to show the state.
    pub fn due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.due;
        if due {
            self.due = now + self.interval;
        }
        due
    }

    /// How long until then.
    pub fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Shows the state.
    pub fn state<V: Serialize>(&mut self, lines: &[String], value: impl FnOnce() -> V) {
        match self.mode {
            Mode::Terminal => {
                self.erase();
                for line in lines {
                    // A line that wraps would take two, and could not be taken back.
                    let shown: String = line.chars().take(self.width()).collect();
                    self.print(&shown);
                }
                self.lines = lines.len();
            }
            Mode::Lines => lines.iter().for_each(|line| self.print(line)),
            // What has names that are no texts is no JSON, and nothing of the kind is shown.
            Mode::Json => self.print(&serde_json::to_string(&value()).unwrap_or_default()),
        }
        let _ = self.out.flush();
    }

    /// Tells of something that happened: a line for people, and its kind and details for programs.
    pub fn event(&mut self, text: &str, kind: &str, details: Value) {
        match self.mode {
            Mode::Json => {
                let mut object = serde_json::json!({ "type": kind });
                if let (Some(object), Value::Object(details)) = (object.as_object_mut(), details) {
                    object.extend(details);
                }
                self.print(&object.to_string());
            }
            Mode::Terminal | Mode::Lines => {
                self.erase();
                self.print(text);
            }
        }
        let _ = self.out.flush();
    }

    /// Warns of something that is not as asked for.
    pub fn warn(&mut self, text: &str) {
        self.event(&format!("warning: {text}"), "warning", serde_json::json!({ "message": text }));
    }

    fn width(&self) -> usize {
        terminal_size::terminal_size_of(std::io::stderr())
            .map_or(usize::MAX, |(width, _)| usize::from(width.0))
    }

    fn print(&mut self, line: &str) {
        // Whoever closed the other end does not want to know.
        let _ = writeln!(self.out, "{line}");
    }

    /// Takes the live lines off the screen.
    fn erase(&mut self) {
        if self.lines > 0 {
            let _ = write!(self.out, "\x1b[{}A\x1b[J", self.lines);
            self.lines = 0;
        }
    }
}

/// A level in decibels as a bar of `width` characters and a number; the bar spans 60 dB.
pub fn meter(dbfs: f32, width: usize) -> String {
    let filled = ((dbfs.max(-60.0) / 60.0 + 1.0) * width as f32).round() as usize;
    let bar: String = (0..width).map(|index| if index < filled { '#' } else { '.' }).collect();
    if dbfs.is_finite() { format!("[{bar}] {dbfs:6.1} dB") } else { format!("[{bar}]   -inf dB") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(mode: Mode) -> String {
        let screen = Screen::default();
        let mut display = Display::onto(Box::new(screen.clone()), mode, None);
        display.state(&["one".into(), "two".into()], || json!({"type": "status", "n": 1}));
        display.warn("careful");
        display.state(&["three".into()], || json!({"type": "status", "n": 2}));
        let bytes = screen.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_terminal_rewrites_its_lines_and_keeps_events() {
        assert_eq!(shown(Mode::Terminal), "one\ntwo\n\x1b[2A\x1b[Jwarning: careful\nthree\n");
    }

    #[test]
    fn a_pipe_gets_plain_lines() {
        assert_eq!(shown(Mode::Lines), "one\ntwo\nwarning: careful\nthree\n");
    }

    #[test]
    fn programs_get_one_object_a_line() {
        let expected = "{\"type\":\"status\",\"n\":1}\n{\"type\":\"warning\",\"message\":\"careful\"}\n{\"type\":\"status\",\"n\":2}\n";
        assert_eq!(shown(Mode::Json), expected);
    }

    #[test]
    fn meters_span_sixty_decibels() {
        assert_eq!(meter(0.0, 10), "[##########]    0.0 dB");
        assert_eq!(meter(-30.0, 10), "[#####.....]  -30.0 dB");
        assert_eq!(meter(f32::NEG_INFINITY, 4), "[....]   -inf dB");
    }
}
