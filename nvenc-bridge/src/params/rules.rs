//! From parameters to what encoders are asked for. Where two parameters exclude each other, one wins, and a warning says
//! which and why.

use super::matrix::{self, Named, Protocol};
use super::{Operator, Params};
use crate::encode::{BitrateMode, Codec, Profile, Settings, Warning};
use crate::picture::{Rate, Size};
use crate::sound::{self, Silent};

/// What is known of pictures before the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Origin {
    /// Of every picture.
    pub size: Size,
    /// At which they come, where they say.
    pub rate: Option<Rate>,
    /// Shape of the whole picture, where pixels are not square.
    pub aspect: Option<(u32, u32)>,
}

/// Channels of every track: of what has one, both are the same.
const CHANNELS: u16 = 2;

/// How the stream leaves.
///
/// # Errors
/// One line: the mode belongs to the other operator, or to a later version.
pub fn protocol(params: &Params) -> Result<Protocol, String> {
    let mode = params.text("mode");
    match (mode.as_str(), params.operator()) {
        ("" | "rtspserver", Operator::Video) | ("" | "rtsp", Operator::Audio) => Ok(Protocol::Rtsp),
        ("rtmpsender" | "srt" | "webrtc", Operator::Video) | ("webrtc", Operator::Audio) => {
            Err(format!("mode: this version does not speak {mode}; it serves RTSP: choose rtspserver"))
        }
        (_, Operator::Video) => Err(format!("mode: Video Stream Out calls `{mode}` rtspserver")),
        (_, Operator::Audio) => Err(format!("mode: Audio Stream Out has rtsp and webrtc, not `{mode}`")),
    }
}

/// What the encoder of pictures is asked for, and what is done otherwise than the parameters say.
///
/// # Errors
/// One line, where they cannot be heeded at all.
pub fn pictures(
    params: &Params,
    protocol: Protocol,
    origin: &Origin,
) -> Result<(Settings, Vec<Warning>), String> {
    let mut warnings = Vec::new();
    let codec: Codec = params.entry("videocodec").ok_or("videocodec: it is missing")?;
    matrix::pictures(protocol, codec).map_err(|reason| format!("videocodec: {reason}"))?;
    let profile: Profile = params.entry("profile").ok_or("profile: it is missing")?;
    let quality = params.entry("quality").ok_or("quality: it is missing")?;
    let bitrate_mode: BitrateMode = params.entry("bitratemode").ok_or("bitratemode: it is missing")?;

    let asked = params.number("fps").map(rate);
    let (average_bitrate, max_bitrate) = bitrates(params, bitrate_mode, &mut warnings)?;
    let mut settings = Settings {
        codec,
        profile,
        quality,
        size: even(origin.size, &mut warnings)?,
        rate: asked.or(origin.rate).unwrap_or(Rate { pictures: 30, seconds: 1 }),
        aspect: aspect(params, origin, &mut warnings),
        keyframe_interval: params.count("keyframeinterval"),
        max_b_frames: params.count("maxbframes"),
        intra_refresh_period: params.count("intrarefreshperiod"),
        intra_refresh_length: params.count("intrarefreshlength"),
        bitrate_mode,
        average_bitrate,
        max_bitrate,
        vbv: buffer(params, &mut warnings)?,
        slices: params.count("numslices"),
    };
    if codec != Codec::H264 && params.is_given("profile") {
        warn(&mut warnings, "profile", format!("means nothing for {}", codec.label()));
    }
    if codec == Codec::Av1 && !settings.slices.is_power_of_two() {
        settings.slices = 1 << settings.slices.ilog2();
        let message = format!("AV1's tiles come in powers of two: {} of them", settings.slices);
        warn(&mut warnings, "numslices", message);
    }
    refresh(params, &mut settings, &mut warnings)?;
    order(protocol, &mut settings, &mut warnings);
    if params.is_on("forceidr") {
        let message = "the first picture is one anyway; ask for more while the stream runs";
        warn(&mut warnings, "forceidr", message.into());
    }
    Ok((settings, warnings))
}

/// What is asked for of sound, where there is any.
///
/// # Errors
/// One line, where it cannot be heeded.
pub fn sound(params: &Params, protocol: Protocol) -> Result<(Option<sound::Settings>, Vec<Warning>), String> {
    let mut warnings = Vec::new();
    let written = Some(params.text("audiochop")).filter(|written| !written.is_empty());
    if params.operator() == Operator::Audio && written.is_none() {
        return Err("audiochop: Audio Stream Out needs sound: name a source with --audio".into());
    }
    let source = written.map(|written| written.parse()).transpose();
    let source = source.map_err(|reason| format!("audiochop: {reason}"))?;
    let silent: Silent = params.entry("includesilentaudio").ok_or("includesilentaudio: it is missing")?;
    let Some(source) = silent.track(source, protocol == Protocol::Rtmp) else {
        for name in ["audiocodec", "audiobitrate"].into_iter().filter(|name| params.is_given(name)) {
            let message = "there is no sound: name a source with --audio, or have silence with --include-silent-audio on";
            warn(&mut warnings, name, message.into());
        }
        return Ok((None, warnings));
    };
    let codec: sound::Codec = params.entry("audiocodec").ok_or("audiocodec: it is missing")?;
    let (_, rates) = matrix::sound(protocol, codec).map_err(|reason| format!("audiocodec: {reason}"))?;
    let rate = *rates.first().ok_or("audiocodec: it has no rate")?;
    let bitrate = params.entry("audiobitrate").ok_or("audiobitrate: it is missing")?;
    Ok((Some(sound::Settings { source, codec, bitrate, rate, channels: CHANNELS, silent }), warnings))
}

/// Pictures a second as a fraction: rates of television are n × 1000 / 1001.
pub fn rate(fps: f64) -> Rate {
    let whole = fps.round().max(1.0);
    let television = fps.ceil().max(1.0);
    if (fps - whole).abs() < 1e-6 {
        Rate { pictures: whole as u32, seconds: 1 }
    } else if (fps - television * 1000.0 / 1001.0).abs() < 0.005 {
        Rate { pictures: television as u32 * 1000, seconds: 1001 }
    } else {
        Rate { pictures: (fps * 1000.0).round() as u32, seconds: 1000 }
    }
}

/// Sizes that 4:2:0 can hold without a half pixel.
fn even(size: Size, warnings: &mut Vec<Warning>) -> Result<Size, String> {
    let even = Size { width: size.width & !1, height: size.height & !1 };
    if even.width < 16 || even.height < 16 {
        return Err(format!(
            "pictures of {}x{} are too small to encode: 16x16 is the least",
            size.width, size.height
        ));
    }
    if even != size {
        let message = format!(
            "pictures of {}x{} lose their last column or row: {}x{} is encoded",
            size.width, size.height, even.width, even.height
        );
        warn(warnings, "resolution", message);
    }
    Ok(even)
}

fn aspect(params: &Params, origin: &Origin, warnings: &mut Vec<Warning>) -> Option<(u32, u32)> {
    let custom = params.text("outputaspect") == "custom";
    for name in ["aspect1", "aspect2"].into_iter().filter(|name| !custom && params.is_given(name)) {
        warn(warnings, name, "does nothing unless outputaspect is custom".into());
    }
    match params.text("outputaspect").as_str() {
        "resolution" => None,
        "custom" => {
            let part = |name| (params.number(name).unwrap_or(1.0) * 1000.0).round() as u32;
            Some(reduced(part("aspect1"), part("aspect2")))
        }
        _ => origin.aspect,
    }
}

/// The same fraction in its smallest numbers.
pub fn reduced(first: u32, second: u32) -> (u32, u32) {
    let (mut a, mut b) = (first, second);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (first / a.max(1), second / a.max(1))
}

fn bitrates(params: &Params, mode: BitrateMode, warnings: &mut Vec<Warning>) -> Result<(u32, u32), String> {
    let bits = |megabits: f64| (megabits * 1e6).round() as u32;
    let average = params.number("avgbitrate").ok_or("avgbitrate: it is missing")?;
    let constant = matches!(mode, BitrateMode::Constant | BitrateMode::ConstantHq);
    let max = match params.number("maxbitrate") {
        Some(_) if constant => {
            warn(warnings, "maxbitrate", "a constant bit rate has no other maximum: avgbitrate holds".into());
            average
        }
        Some(max) if max < average => {
            let message = format!("it is below the average of {average} Mb/s, which holds instead");
            warn(warnings, "maxbitrate", message);
            average
        }
        Some(max) => max,
        None if constant => average,
        None => (2.0 * average).min(4_294.0),
    };
    Ok((bits(average), bits(max)))
}

fn buffer(params: &Params, warnings: &mut Vec<Warning>) -> Result<Option<u32>, String> {
    match (params.is_on("forcevbvbufsize"), params.number("vbvbufsize")) {
        (true, Some(megabits)) => Ok(Some((megabits * 1e6).round() as u32)),
        (true, None) => Err("forcevbvbufsize: it needs vbvbufsize, in megabits".into()),
        (false, Some(_)) => {
            warn(warnings, "vbvbufsize", "does nothing while forcevbvbufsize is off".into());
            Ok(None)
        }
        (false, None) => Ok(None),
    }
}

/// Encoders refresh gradually only where no key pictures come by themselves.
fn refresh(params: &Params, settings: &mut Settings, warnings: &mut Vec<Warning>) -> Result<(), String> {
    match settings.intra_refresh_period {
        0 => {
            if settings.intra_refresh_length > 0 {
                settings.intra_refresh_length = 0;
                let message = "does nothing without intrarefreshperiod";
                warn(warnings, "intrarefreshlength", message.into());
            }
            return Ok(());
        }
        1 => {
            return Err(
                "intrarefreshperiod: a refresh takes a picture and the next begins after it: 2 is the least"
                    .into(),
            );
        }
        _ => {}
    }
    let most = settings.intra_refresh_period - 1;
    match settings.intra_refresh_length {
        0 => settings.intra_refresh_length = most,
        length if length > most => {
            let message = format!("it must end before the next begins: {most} instead of {length}");
            warn(warnings, "intrarefreshlength", message);
            settings.intra_refresh_length = most;
        }
        _ => {}
    }
    if params.is_given("keyframeinterval") {
        let message = "intra-refresh takes the place of key pictures: they come only when asked for";
        warn(warnings, "keyframeinterval", message.into());
    }
    settings.keyframe_interval = 0;
    Ok(())
}

/// What forbids pictures that refer to later ones.
fn order(protocol: Protocol, settings: &mut Settings, warnings: &mut Vec<Warning>) {
    let browsers = protocol == Protocol::Webrtc && settings.codec != Codec::Av1;
    let baseline = settings.codec == Codec::H264 && settings.profile == Profile::Baseline;
    let reason = if settings.intra_refresh_period > 0 {
        "intra-refresh excludes B-pictures: there are none"
    } else if baseline {
        "the baseline profile has no B-pictures: there are none"
    } else if browsers {
        "browsers show B-pictures of H.264 and H.265 out of order: there are none"
    } else {
        return;
    };
    if settings.max_b_frames > 0 {
        warn(warnings, "maxbframes", reason.into());
        settings.max_b_frames = 0;
    }
}

fn warn(warnings: &mut Vec<Warning>, parameter: &'static str, message: String) {
    warnings.push(Warning { parameter, message });
}
