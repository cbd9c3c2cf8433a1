//! Random numbers that keep apart what many would do at once. Not for secrets.

/// A generator: xorshift (Marsaglia 2003).
#[derive(Clone, Debug)]
pub(crate) struct Scatter(u32);

impl Scatter {
    /// The generator that this seed names.
    pub(crate) fn new(seed: u32) -> Self {
        // Zero would stay zero.
        Self(seed.max(1))
    }

    /// 32 bits, never all zero.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}
