//! Pictures out of octets: with a header (YUV4MPEG2), or of a shape that is known.

use super::pipe::Pipe;
use super::{Pacing, Reader, Shape, y4m};
use crate::picture::Format;

/// How pictures lie in the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One after another, of this shape.
    Raw(Shape),
    /// Each behind a line, all behind another.
    Y4m,
}

/// A source of pictures in octets.
pub struct Frames {
    pipe: Pipe,
    framing: Framing,
    pacing: Pacing,
    shape: Shape,
    /// Of the line that is being read.
    line: Vec<u8>,
}

/// What came of an attempt to read.
enum Read {
    Picture,
    /// The program has ended, perhaps in the middle of a picture.
    End,
}

impl Frames {
    /// Waits for the first program, and for what it says of its pictures.
    ///
    /// # Errors
    /// One line: there is none, or its pictures are of a kind that is not taken.
    pub fn open(mut pipe: Pipe, framing: Framing, pacing: Pacing) -> Result<Self, String> {
        let shape = loop {
            if !pipe.turn_over()? {
                return Err("there are no pictures".into());
            }
            match framing {
                Framing::Raw(shape) => break shape,
                Framing::Y4m => match begin(&mut pipe, &mut Vec::new())? {
                    Some(shape) => break shape,
                    None if pacing == Pacing::Clock => return Err("there are no pictures in it".into()),
                    None => {}
                },
            }
        };
        Ok(Self { pipe, framing, pacing, shape, line: Vec::new() })
    }

    fn one(&mut self, data: &mut Vec<u8>) -> Result<Read, String> {
        if self.framing == Framing::Y4m {
            line(&mut self.pipe, &mut self.line)?;
            // The next program, where it has opened the FIFO before the end of the last one was seen; or files back to back.
            while self.line.starts_with(y4m::MAGIC) {
                self.shape = y4m::header(&self.line)?;
                line(&mut self.pipe, &mut self.line)?;
            }
            if self.line.is_empty() {
                return Ok(Read::End);
            }
            if !self.line.starts_with(y4m::FRAME) {
                return Err("what comes between two pictures is no YUV4MPEG2".into());
            }
        }
        data.resize(self.shape.format.octets(self.shape.size), 0);
        let whole = self.pipe.fill(data)? == data.len();
        Ok(if whole { Read::Picture } else { Read::End })
    }

    /// Waits for the next program whose pictures can be taken. `false` where there is none.
    fn turn_over(&mut self) -> Result<bool, String> {
        while self.pipe.turn_over()? {
            if self.framing != Framing::Y4m {
                return Ok(true);
            }
            match begin(&mut self.pipe, &mut self.line) {
                Ok(shape) => {
                    self.shape = shape.unwrap_or(self.shape);
                    return Ok(true);
                }
                Err(_) if self.pipe.comes_again() => {}
                Err(reason) => return Err(reason),
            }
        }
        Ok(false)
    }
}

impl Reader for Frames {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn pace(&self) -> Pacing {
        self.pacing
    }

    fn read(&mut self, data: &mut Vec<u8>, skip: u64) -> Result<bool, String> {
        let mut left = skip;
        // A program that comes and goes without a picture ends a file, and is let go elsewhere.
        let mut fruitless = false;
        loop {
            let read = match self.one(data) {
                Err(_) if self.pipe.comes_again() => Read::End,
                read => read?,
            };
            match read {
                Read::Picture if left == 0 => return Ok(true),
                Read::Picture => {
                    left -= 1;
                    fruitless = false;
                }
                Read::End if self.pipe.stopped() => return Ok(false),
                Read::End => {
                    let alone = self.pacing == Pacing::Clock;
                    if (alone && fruitless) || !self.turn_over()? {
                        return Ok(false);
                    }
                    fruitless = true;
                }
            }
        }
    }
}

/// Reads the line that all begins with; `None` where the program has ended without a word.
fn begin(pipe: &mut Pipe, text: &mut Vec<u8>) -> Result<Option<Shape>, String> {
    line(pipe, text)?;
    if text.is_empty() {
        pipe.conclude()?;
        return Ok(None);
    }
    let shape = y4m::header(text).map_err(|reason| {
        format!("{reason}; for pictures without a header name their form with --raw-format")
    })?;
    Ok(Some(shape))
}

/// Reads a line, without its end; empty where the program has ended.
fn line(pipe: &mut Pipe, text: &mut Vec<u8>) -> Result<(), String> {
    text.clear();
    let mut octet = [0];
    while text.len() < y4m::LINE {
        if pipe.fill(&mut octet)? == 0 {
            text.clear();
            return Ok(());
        }
        if octet == *b"\n" {
            return Ok(());
        }
        text.push(octet[0]);
    }
    Err(format!("a line of more than {} octets is no YUV4MPEG2", y4m::LINE))
}

/// The form that a name stands for.
pub fn format(name: &str) -> Option<Format> {
    match name {
        "i420" => Some(Format::I420),
        "nv12" => Some(Format::Nv12),
        "p010" => Some(Format::P010),
        "rgba" => Some(Format::Rgba),
        "bgra" => Some(Format::Bgra),
        _ => None,
    }
}
