//! Repair in advance: every few packets some rows of parity follow, from which lost ones are rebuilt without
//! asking.
//!
//! Packets are dealt to as many lanes as the spread says, and each lane's packets form blocks. A burst of
//! losses therefore hits many blocks a little instead of one block hard. The layout is that of
//! [`proto::parity`], the code that of [`erasure`](crate::erasure).

mod collector;
mod guard;
mod spec;

#[cfg(test)]
mod tests;

pub use collector::{Collector, Media, Packets, ROW, Recovered};
pub use guard::{Guard, OVERHEAD};
pub use spec::{Error, Spec};
