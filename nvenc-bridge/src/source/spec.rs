//! Which source is meant, and opening it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::capture::{Capture, Kind};
use super::frames::{self, Frames, Framing};
use super::pattern::Pattern;
use super::pipe::{Pipe, Place};
use super::{Pacing, Reader, Shape};
use crate::params::Params;
use crate::params::rules;
use crate::picture::Size;

/// A source, as the parameters have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// The test pattern.
    Pattern(Size),
    /// Octets of a file or another program.
    Octets(Place, Framing),
}

impl Spec {
    /// Decides from `pictures` and its companions; looks at the file, opens nothing.
    ///
    /// # Errors
    /// One line that names the parameter.
    pub fn new(params: &Params) -> Result<Self, String> {
        let name = params.text("pictures");
        let size = Size { width: params.count("resolutionw"), height: params.count("resolutionh") };
        let rate = params.number("fps").map(rules::rate);
        let raw = frames::format(&params.text("rawformat"));
        let repeat = params.is_on("repeat");
        let sized: Vec<_> =
            ["resolutionw", "resolutionh"].into_iter().filter(|name| params.is_given(name)).collect();
        let spec = if name == "test" {
            Self::Pattern(size)
        } else if let Some((kind, device)) = Kind::named(&name) {
            if let [alone] = sized[..] {
                return Err(format!("{alone}: `{name}` takes both a width and a height, or neither"));
            }
            let size = (!sized.is_empty()).then_some(size);
            Self::Octets(Place::Capture(Capture { kind, device, size, rate }), Framing::Y4m)
        } else {
            let framing =
                raw.map_or(Framing::Y4m, |format| Framing::Raw(Shape { format, size, rate, aspect: None }));
            Self::Octets(place(&name, raw.is_some(), repeat)?, framing)
        };
        let describes_itself = match &spec {
            Self::Octets(Place::Capture(_), _) | Self::Pattern(_) => false,
            Self::Octets(_, framing) => *framing == Framing::Y4m,
        };
        match (&spec, sized.first()) {
            (_, Some(sized)) if describes_itself => Err(format!(
                "{sized}: the pictures of `{name}` have their own size; it is for the test pattern, cameras, screens and --raw-format"
            )),
            (Self::Pattern(..) | Self::Octets(Place::Video(..) | Place::Capture(_), _), _)
                if raw.is_some() =>
            {
                Err(format!("rawformat: `{name}` says by itself how its pixels lie"))
            }
            (Self::Octets(Place::File(..) | Place::Video(..), _), _) => Ok(spec),
            _ if repeat => Err(format!("repeat: `{name}` is no file")),
            _ => Ok(spec),
        }
    }

    /// Opens it. Waits for the first program where programs come and go, until `stop`.
    ///
    /// # Errors
    /// One line that names the place.
    pub fn open(&self, stop: Arc<AtomicBool>) -> Result<Box<dyn Reader>, String> {
        match self {
            Self::Pattern(size) => Ok(Box::new(Pattern::new(*size))),
            Self::Octets(place, framing) => {
                let pacing = match place {
                    Place::File(..) | Place::Video(..) => Pacing::Clock,
                    Place::Stdin | Place::Fifo(_) | Place::Socket(_) => Pacing::Arrival,
                    Place::Capture(_) => Pacing::Live,
                };
                let frames = Frames::open(Pipe::new(place.clone(), stop), *framing, pacing);
                Ok(Box::new(frames.map_err(|reason| match reason.strip_prefix(&place.to_string()) {
                    Some(_) => reason,
                    None => format!("{place}: {reason}"),
                })?))
            }
        }
    }
}

fn place(name: &str, raw: bool, repeat: bool) -> Result<Place, String> {
    if name == "-" {
        return Ok(Place::Stdin);
    }
    if let Some(path) = name.strip_prefix("unix:") {
        return Ok(Place::Socket(path.into()));
    }
    let path = PathBuf::from(name);
    let kind = std::fs::metadata(&path).map_err(|error| format!("pictures: {name}: {error}"))?;
    Ok(if is_fifo(&kind) {
        Place::Fifo(path)
    } else if kind.is_dir() {
        return Err(format!("pictures: {name} is a folder"));
    } else if raw || is_y4m(&path) {
        Place::File(path, repeat)
    } else {
        Place::Video(path, repeat)
    })
}

fn is_y4m(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("y4m"))
}

#[cfg(unix)]
fn is_fifo(kind: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind.file_type())
}

#[cfg(not(unix))]
fn is_fifo(_: &std::fs::Metadata) -> bool {
    false
}
