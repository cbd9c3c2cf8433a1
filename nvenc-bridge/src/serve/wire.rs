//! What a connection's octets go through: nothing, or TLS.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Registry;
use mio::event::Source;
use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

/// Records, or parts of them, that are read in a row before others have their turn.
const RECORDS: usize = 4;

/// A connection that is never waited for.
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Wire {
    /// Takes a connection over, with a TLS handshake first where there is a certificate.
    ///
    /// # Errors
    /// Where TLS has no memory or no randomness.
    pub(super) fn new(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        let new = |config: &Arc<ServerConfig>| ServerConnection::new(config.clone()).map(Box::new);
        Ok(Self { stream, tls: tls.map(new).transpose().map_err(io::Error::other)? })
    }

    /// The other end.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Whether it is encrypted.
    pub(super) fn is_secret(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether keys are still to be agreed on, which takes far longer than octets do.
    pub(super) fn is_beginning(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether something that was taken has not gone out.
    pub(super) fn owes(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Tells the other end that nothing follows, so that it can tell this from a connection that was cut.
    pub(super) fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Where there is no room for it, it is cut after all.
            let _ = self.flush();
        }
    }
}

impl Read for Wire {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        for _ in 0..RECORDS {
            let Some(tls) = &mut self.tls else { return self.stream.read(room) };
            match tls.reader().read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            tls.read_tls(&mut self.stream)?;
            let taken = tls.process_new_packets();
            // Answers of the handshake, or why it cannot be; what is to be read does not wait for those that fetch nothing.
            match self.flush() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        // There may be more, but none of it was for who reads.
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(octets)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        // What is encrypted waits for room in the kernel before more is: it could not be left out any longer.
        self.flush()?;
        let Some(tls) = &mut self.tls else { return self.stream.write_vectored(pieces) };
        if tls.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = tls.writer().write_vectored(pieces)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Writes what is encrypted.
    fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Source for Wire {
    fn register(
        &mut self,
        registry: &Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        self.stream.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        self.stream.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream.deregister(registry)
    }
}
