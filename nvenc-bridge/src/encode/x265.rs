//! H.265 by x265. Under the GPL.

use super::shim::{Choices, Kind, Library, Shim};
use super::{Codec, Error, Settings, x26};

/// What its name is.
pub const NAME: &str = "x265";

const KIND: Kind = Kind {
    name: NAME,
    codec: Codec::H265,
    choose,
    forces_keys: true,
    live: &["bitrate", "vbv-maxrate", "vbv-bufsize"],
    library: Library::x265,
};

/// Opens an encoder.
///
/// # Errors
/// As [`Kind::open`].
pub fn open(settings: &Settings) -> Result<Shim, Error> {
    KIND.open(settings)
}

/// What x265 is given.
pub fn choose(settings: &Settings) -> Choices {
    let mut choices = Choices::default();
    if !x26::effort(settings, &mut choices) {
        // Threads that take a picture each would hold pictures back.
        choices.set("quality", "frame-threads", 1);
    }
    x26::key_pictures(settings, "-1", &mut choices);
    if settings.intra_refresh_period > 0 {
        let length = settings.intra_refresh_length;
        let message = format!("{NAME} chooses over how many pictures a refresh is spread, not {length}");
        choices.warn("intrarefreshlength", message);
    }
    choices.set("maxbframes", "bframes", settings.max_b_frames);
    let constant = x26::bits(settings, &mut choices);
    choices.set("bitratemode", "strict-cbr", u8::from(constant));
    choices.set("numslices", "slices", settings.slices.max(1));
    x26::look(settings, ("range", "limited"), &mut choices);
    choices
}
