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
    // It takes other bit rates while it runs, says that it did, and goes on as before.
    live: &[],
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
    // A slice has a row of coding tree units, of 64 pixels at most, for itself.
    let slices = settings.slices.clamp(1, settings.size.height.div_ceil(64));
    if slices != settings.slices {
        choices.warn(
            "numslices",
            format!("{NAME} makes {slices} of pictures of this size, not {}", settings.slices),
        );
    }
    choices.set("numslices", "slices", slices);
    x26::look(settings, ("range", "limited"), &mut choices);
    choices
}
