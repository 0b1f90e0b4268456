//! Why something is left to the Python way: what it is, and where.

use std::fmt;

/// What is wrong with a payload, or beyond what is done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Bytes from the beginning.
    pub at: usize,
    /// In words, without anything of the payload.
    pub what: &'static str,
}

impl Fault {
    /// What was found at a byte.
    #[must_use]
    pub fn new(at: usize, what: &'static str) -> Self {
        Self { at, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (byte {})", self.what, self.at)
    }
}
