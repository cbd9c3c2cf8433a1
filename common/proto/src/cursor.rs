//! Bounds-checked big-endian reading and writing, shared by the packet formats of this crate.

use crate::Reject;

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Reject> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Reject::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reject> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Reject::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Reject> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Reject> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Reject> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Reject> {
        Ok(u64::from_be_bytes(self.array()?))
    }
}

/// Writes into a caller's slice. Running out of room is remembered and reported once, by [`Writer::finish`].
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    overflow: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0, overflow: false }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.overflow = true,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Octets that still fit.
    pub(crate) fn room(&self) -> usize {
        if self.overflow { 0 } else { self.buffer.len() - self.length }
    }

    /// Fills with zeros up to a multiple of four octets.
    pub(crate) fn align(&mut self) {
        while !self.length.is_multiple_of(4) && !self.overflow {
            self.put(&[0]);
        }
    }

    /// Overwrites a 16-bit field written before.
    pub(crate) fn patch_u16(&mut self, at: usize, value: u16) {
        if let Some(field) = self.buffer.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Octets written, or `None` if the buffer was too small.
    pub(crate) fn finish(self) -> Option<usize> {
        (!self.overflow).then_some(self.length)
    }
}
