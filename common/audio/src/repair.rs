//! Packets that were lost, brought back exactly as they were: by parity that is sent in advance, or sent again on
//! request.

pub mod advance;
pub mod request;
