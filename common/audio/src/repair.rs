//! Packets that were lost, brought back exactly as they were: by parity that is sent in advance.

pub mod advance;
