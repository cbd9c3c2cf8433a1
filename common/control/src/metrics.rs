//! Figures as Prometheus reads them: its text format, version 0.0.4.

use std::fmt::Write;

/// What [`Metrics::text`] is, for HTTP.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a figure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows. Its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A page of figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    text: String,
}

/// The samples of one figure.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Metrics {
    /// A page without figures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a figure: a name of ASCII letters, digits and `_` that ends in its unit (`_seconds`, `_bytes`), and what it says,
    /// in a line for people. Each is to be given once, with all its samples.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = escaped(help, false);
        // A string takes everything.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.text, name }
    }

    /// The page.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Family<'_> {
    /// Adds a sample with labels, by name and value. No two may have the same ones.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let _ = write!(self.text, "{}", self.name);
        for (n, (label, value)) in labels.iter().enumerate() {
            let before = if n == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(value, true));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let value = match value {
            f64::INFINITY => "+Inf".into(),
            f64::NEG_INFINITY => "-Inf".into(),
            value => value.to_string(),
        };
        let _ = writeln!(self.text, "{after} {value}");
        self
    }
}

/// Text with what ends a line, or a label's value, written otherwise.
fn escaped(text: &str, quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quoted { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_as_prometheus_reads_it() {
        let mut metrics = Metrics::new();
        metrics.family("a_total", Kind::Counter, "How often.\nSince the start.").sample(&[], 3.0);
        metrics
            .family("b_seconds", Kind::Gauge, "A \\ \"time\".")
            .sample(&[("stream", "a\"b\\c\nd"), ("codec", "mp3")], 0.25)
            .sample(&[("stream", "e"), ("codec", "")], f64::INFINITY);
        let expected = r#"# HELP a_total How often.\nSince the start.
# TYPE a_total counter
a_total 3
# HELP b_seconds A \\ "time".
# TYPE b_seconds gauge
b_seconds{stream="a\"b\\c\nd",codec="mp3"} 0.25
b_seconds{stream="e",codec=""} +Inf
"#;
        assert_eq!(metrics.text(), expected);
    }
}
