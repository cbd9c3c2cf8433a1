//! H.264 by x264: the encoder in software that honours nearly all parameters. Under the GPL.

use super::shim::{Choices, Kind, Library, Shim};
use super::{Codec, Error, Profile, Quality, Settings, x26};

/// What its name is.
pub const NAME: &str = "x264";

const KIND: Kind = Kind {
    name: NAME,
    codec: Codec::H264,
    choose,
    forces_keys: true,
    live: &["bitrate", "vbv-maxrate", "vbv-bufsize"],
    library: Library::x264,
};

/// Opens an encoder.
///
/// # Errors
/// As [`Kind::open`].
pub fn open(settings: &Settings) -> Result<Shim, Error> {
    KIND.open(settings)
}

/// What x264 is given.
pub fn choose(settings: &Settings) -> Choices {
    let mut choices = Choices::default();
    let ahead = x26::effort(settings, &mut choices);
    choices.fix("mbtree", u8::from(ahead && settings.quality != Quality::HighLatencyLow));
    let profile = match settings.profile {
        Profile::Baseline => "baseline",
        Profile::Main => "main",
        Profile::High => "high",
    };
    choices.set("profile", "profile", profile);
    x26::key_pictures(settings, "infinite", &mut choices);
    let (period, length) = (settings.intra_refresh_period, settings.intra_refresh_length);
    if period > 0 && length + 1 == period {
        choices.mapping.note("intrarefreshlength", "x264's own, which is this");
    } else if period > 0 {
        let own = period - 1;
        let message =
            format!("{NAME} spreads a refresh over {own} pictures, its period less one, not {length}");
        choices.warn("intrarefreshlength", message);
    }
    choices.set("maxbframes", "bframes", settings.max_b_frames);
    let constant = x26::bits(settings, &mut choices);
    if constant {
        // Not by nal-hrd=cbr, with which x264 keeps its bit rate whatever it is asked later.
        choices.set("bitratemode", "filler", 1);
    } else {
        choices.mapping.note("bitratemode", "bitrate on average, vbv-maxrate at most");
    }
    slices(settings, &mut choices);
    x26::look(settings, ("fullrange", "off"), &mut choices);
    choices
}

/// Threads that share a picture make a slice each; those that take a picture each hold pictures back.
fn slices(settings: &Settings, choices: &mut Choices) {
    let rows = settings.size.height.div_ceil(16);
    let slices = settings.slices.clamp(1, rows);
    if slices != settings.slices {
        choices.warn(
            "numslices",
            format!("{NAME} makes {slices} of pictures of this size, not {}", settings.slices),
        );
    }
    // x264 gives each such thread four rows of macroblocks at least.
    let shared = slices > 1 && slices <= rows / 4;
    choices.set("numslices", "slices", slices);
    if settings.quality.is_low_latency() {
        choices.set("numslices", "sliced-threads", u8::from(shared));
        choices.set("numslices", "threads", if shared { slices } else { 1 });
    } else {
        choices.set("numslices", "sliced-threads", 0);
    }
}
