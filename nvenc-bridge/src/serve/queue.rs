//! What waits to be written to a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;

/// Pieces in a system call.
const AT_ONCE: usize = 16;

/// Octets that wait, the first of them perhaps begun.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pieces: VecDeque<Piece>,
    /// Octets of the first piece that are written already.
    written: usize,
    octets: usize,
    /// Octets of pieces that are of no track.
    answers: usize,
}

#[derive(Debug)]
struct Piece {
    octets: Arc<[u8]>,
    /// Of a track, so that it may be left out.
    media: bool,
}

impl Queue {
    pub(super) fn push(&mut self, octets: Arc<[u8]>, media: bool) {
        if !octets.is_empty() {
            self.octets += octets.len();
            self.answers += if media { 0 } else { octets.len() };
            self.pieces.push_back(Piece { octets, media });
        }
    }

    /// Octets that wait.
    pub(super) fn len(&self) -> usize {
        self.octets - self.written
    }

    /// Octets of what must not be left out, the piece that is begun as a whole.
    pub(super) fn answers(&self) -> usize {
        self.answers
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Leaves out what is of tracks and not begun.
    pub(super) fn clear_media(&mut self) {
        let begun = usize::from(self.written > 0);
        let mut place = 0;
        self.pieces.retain(|piece| {
            place += 1;
            place <= begun || !piece.media
        });
        self.octets = self.pieces.iter().map(|piece| piece.octets.len()).sum();
    }

    /// Writes what is taken at once. How many octets.
    ///
    /// # Errors
    /// The connection's; that it is full is none.
    pub(super) fn write(&mut self, to: &mut impl Write) -> io::Result<usize> {
        let mut total = 0;
        while !self.pieces.is_empty() {
            let from = |place: usize| if place == 0 { self.written } else { 0 };
            let slices: [IoSlice<'_>; AT_ONCE] = std::array::from_fn(|place| {
                let piece = self.pieces.get(place).map_or(&[][..], |piece| &piece.octets[from(place)..]);
                IoSlice::new(piece)
            });
            match to.write_vectored(&slices[..self.pieces.len().min(AT_ONCE)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total += written;
                    self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn advance(&mut self, octets: usize) {
        self.written += octets;
        while let Some(first) = self.pieces.front() {
            let (length, media) = (first.octets.len(), first.media);
            if self.written < length {
                return;
            }
            self.written -= length;
            self.octets -= length;
            self.answers -= if media { 0 } else { length };
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many octets at a time, and then none for once.
    struct Narrow(usize, bool, Vec<u8>);

    impl Write for Narrow {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let length = octets.len().min(self.0);
            self.2.extend_from_slice(&octets[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn filled() -> Queue {
        let mut queue = Queue::default();
        for (octets, media) in
            [(&b"abcd"[..], true), (b"", true), (b"ef", false), (b"ghi", true), (b"j", false)]
        {
            queue.push(octets.into(), media);
        }
        queue
    }

    #[test]
    fn everything_leaves_in_order_however_little_is_taken() {
        for at_a_time in 1..12 {
            let (mut queue, mut out) = (filled(), Narrow(at_a_time, true, Vec::new()));
            assert_eq!(queue.answers(), 3);
            while !queue.is_empty() {
                let before = queue.len();
                assert_eq!(before - queue.write(&mut out).unwrap(), queue.len());
            }
            assert_eq!((out.2.as_slice(), queue.len(), queue.answers()), (&b"abcdefghij"[..], 0, 0));
        }
    }

    #[test]
    fn pieces_of_tracks_that_are_not_begun_can_be_left_out() {
        let (mut queue, mut out) = (filled(), Narrow(3, true, Vec::new()));
        queue.write(&mut out).unwrap();
        queue.clear_media();
        assert_eq!(queue.len(), 4);
        while !queue.is_empty() {
            queue.write(&mut out).unwrap();
        }
        assert_eq!(out.2, b"abcdefj");
        let mut queue = filled();
        queue.clear_media();
        assert_eq!(queue.len(), 3);
    }
}
