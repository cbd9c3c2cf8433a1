//! One system call for each datagram.

use std::io;

use super::{Destination, Failure, Refusal, Run};
use crate::udp::Socket;

/// Sends a run of one datagram to the first destination. Longer ones are left to the caller to cut.
pub(super) fn send(socket: &Socket, run: Run<'_>, to: &[Destination]) -> Result<usize, Failure> {
    if run.octets.len() > run.length {
        return Err(Failure::Uncut);
    }
    let Some(first) = to.first() else { return Ok(0) };
    match socket.send_to(run.octets, &first.0) {
        Ok(_) => Ok(1),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Failure::Refused(Refusal::Full)),
        Err(_) => Err(Failure::Refused(Refusal::Other)),
    }
}
