//! What NVENC says when it does not do something, and what to do about it.

use super::abi::{DRIVER_NEEDED, status};

/// An answer other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `NVENCSTATUS`.
    pub status: u32,
    /// One line for people.
    pub line: String,
}

impl Fault {
    pub(super) fn new(call: &str, status: u32, detail: Option<&str>) -> Self {
        Self { status, line: line(call, status, detail) }
    }

    /// Of CUDA, which says it in words.
    pub(super) fn cuda(line: String) -> Self {
        Self { status: status::GENERIC, line }
    }

    /// Whether the same call may succeed a little later.
    pub(super) fn passes(&self) -> bool {
        matches!(self.status, status::ENCODER_BUSY | status::LOCK_BUSY)
    }
}

/// What was asked, what came of it, the driver's own words, and what to do.
pub(super) fn line(call: &str, status: u32, detail: Option<&str>) -> String {
    let (name, advice) = meaning(status);
    let detail = detail.map_or_else(String::new, |text| format!(", \"{text}\""));
    format!("NVENC: {call}: {advice} ({name} {status}{detail})")
}

fn meaning(status: u32) -> (&'static str, String) {
    let (name, advice) = match status {
        status::NO_ENCODE_DEVICE => ("NO_ENCODE_DEVICE", NO_ENGINE),
        status::UNSUPPORTED_DEVICE => ("UNSUPPORTED_DEVICE", NO_ENGINE),
        status::INVALID_ENCODERDEVICE => ("INVALID_ENCODERDEVICE", LOST),
        status::INVALID_DEVICE => ("INVALID_DEVICE", LOST),
        status::DEVICE_NOT_EXIST => ("DEVICE_NOT_EXIST", LOST),
        status::INVALID_PTR => ("INVALID_PTR", REFUSED),
        status::INVALID_PARAM => ("INVALID_PARAM", REFUSED),
        status::INVALID_CALL => ("INVALID_CALL", REFUSED),
        status::OUT_OF_MEMORY => (
            "OUT_OF_MEMORY",
            "the card's memory is full, or as many sessions are open as the card may have (GeForce: 8 on the whole machine): \
             end other encoders",
        ),
        status::ENCODER_NOT_INITIALIZED => ("ENCODER_NOT_INITIALIZED", REFUSED),
        status::UNSUPPORTED_PARAM => {
            ("UNSUPPORTED_PARAM", "this card cannot do that: see `nvenc-bridge caps`")
        }
        status::LOCK_BUSY => ("LOCK_BUSY", BUSY),
        status::NOT_ENOUGH_BUFFER => {
            ("NOT_ENOUGH_BUFFER", "a picture in bits is larger than the driver expected: lower the bitrate")
        }
        status::INVALID_VERSION => {
            return (
                "INVALID_VERSION",
                format!("the driver does not know this version: install driver {DRIVER_NEEDED} or newer"),
            );
        }
        status::MAP_FAILED => ("MAP_FAILED", REFUSED),
        status::ENCODER_BUSY => ("ENCODER_BUSY", BUSY),
        status::GENERIC => ("GENERIC", LOST),
        status::INCOMPATIBLE_CLIENT_KEY => (
            "INCOMPATIBLE_CLIENT_KEY",
            "as many sessions are open as the card may have (GeForce: 8 on the whole machine): end other encoders",
        ),
        status::UNIMPLEMENTED => ("UNIMPLEMENTED", "this driver does not have it: install a newer one"),
        _ => ("status", LOST),
    };
    (name, advice.to_owned())
}

const NO_ENGINE: &str = "this card has no NVENC engine (data centre cards such as A100 and H100 have none): use another card or a software encoder";
const LOST: &str = "the card or its driver failed: look at `nvidia-smi` and the system's log";
const REFUSED: &str = "the driver refuses it: please report this line with the output of `nvenc-bridge caps`";
const BUSY: &str = "the card is busy: end other work on it, or lower size, rate or quality";
