//! Where pictures come from.
//!
//! A [`Reader`] gives one picture after another. A thread reads it, [`pace`] says when each is due, and a [`slot`] holds the
//! newest alone: whoever is late finds pictures gone, which are counted, and never a queue.

pub mod capture;
pub mod feed;
pub mod frames;
pub mod pace;
pub mod pattern;
pub mod pipe;
pub mod slot;
pub mod spec;
pub mod y4m;

use crate::picture::{Format, Rate, Size};

/// What a source says of its pictures before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How they lie.
    pub format: Format,
    /// Of each.
    pub size: Size,
    /// At which they come, where they say.
    pub rate: Option<Rate>,
    /// Shape of the whole picture as width to height, where pixels are not square.
    pub aspect: Option<(u32, u32)>,
}

/// A source that is open.
pub trait Reader: Send {
    /// Of all its pictures.
    fn shape(&self) -> Shape;

    /// Who sets the pace.
    fn pace(&self) -> Pacing;

    /// Reads a picture over what `data` holds, and waits for it, after leaving out `skip` others. `false` at the end.
    ///
    /// # Errors
    /// One line: it has failed and gives no more.
    fn read(&mut self, data: &mut Vec<u8>, skip: u64) -> Result<bool, String>;
}

/// Who sets the pace of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// We do: each picture has its time, and those whose time has passed are left out.
    Clock,
    /// The other program does: a picture is of the time at which it comes. One that hurries is held back.
    Arrival,
    /// A device does: as with a program, but one that hurries cannot be held back, since what waits in it grows old.
    Live,
}
