//! Every parameter with every value of its menu, or with values from one end of its range to the other: each changes what is
//! done, is warned of, or is refused. None is ignored in silence.

use super::parameter::{Kind, Page, Parameter, Standing};
use super::table::TABLE;
use super::{Operator, Params};
use crate::args::Settings;
use crate::encode::software::Software;
use crate::plan::Plan;

/// Values that mean what holds anyway.
const SAME: &[(&str, &str)] = &[
    // The only mode there is.
    ("mode", "rtspserver"),
    ("mode", "rtsp"),
    // The test pattern's pixels are square.
    ("outputaspect", "resolution"),
    // Without a source there is silence only where it is asked for.
    ("includesilentaudio", "off"),
];

/// What a parameter needs beside it to mean something.
fn beside(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "operator" => &[("audiochop", "tone")],
        "rawformat" => &[("pictures", "-")],
        "group" | "ttl" => &[("multicast", "on")],
        "intrarefreshlength" => &[("intrarefreshperiod", "40")],
        "maxbitrate" => &[("bitratemode", "variable")],
        "forcevbvbufsize" => &[("vbvbufsize", "1")],
        "vbvbufsize" => &[("forcevbvbufsize", "on")],
        "outputaspect" => &[("aspect1", "4"), ("aspect2", "3")],
        "aspect1" | "aspect2" => &[("outputaspect", "custom")],
        "audiocodec" | "audiobitrate" | "includesilentaudio" => &[("audiochop", "tone")],
        _ => &[],
    }
}

/// Values to try.
fn values(parameter: &Parameter) -> Vec<String> {
    match (parameter.kind, parameter.name) {
        (Kind::Menu(entries), _) => entries.iter().map(|(name, _)| (*name).into()).collect(),
        (Kind::Toggle | Kind::Pulse, _) => vec!["on".into(), "off".into()],
        (Kind::Int(least, most), _) => {
            [least, least + 1, (least + most) / 2, most].map(|n| n.to_string()).into()
        }
        (Kind::Float(least, most), _) => [least, (least * most).sqrt(), most].map(|n| n.to_string()).into(),
        (Kind::Text, "pictures") => vec![
            "-".into(),
            "unix:/nonexistent".into(),
            "none.mp4".into(),
            "camera".into(),
            "screen::1".into(),
        ],
        (Kind::Text, "group") => vec!["239.1.2.3".into(), "239.1.2.3:5004".into(), "10.0.0.1".into()],
        (Kind::Text, "audiochop") => {
            vec!["silence".into(), "rtp://:5004".into(), "rtp://:5004?colour=1".into()]
        }
        (Kind::Text, _) => vec!["other".into()],
    }
}

/// What is done, and the parameters that are warned of.
fn done(operator: Operator, entries: &[(&str, &str)]) -> Result<(String, Vec<&'static str>), String> {
    let mut params = Params::default();
    if operator == Operator::Audio {
        params.set("operator", &"audiostreamout".into())?;
        params.set("audiochop", &"tone".into())?;
    }
    for (name, value) in entries {
        params.set(name, &(*value).into())?;
    }
    let mut streams = Plan::new(&Settings { params, ..Settings::default() })?.streams;
    let mut stream = streams.remove(0);
    let settings = stream.foreseen()?;
    let mapping = settings.as_ref().map(|settings| Software::Openh264.mapping(settings)).unwrap_or_default();
    // Both are one on the page.
    let named = |name| if name == "vbvbufsize" { vec![name, "forcevbvbufsize"] } else { vec![name] };
    let warnings = stream.warnings.iter().chain(&mapping.warnings);
    let warned = warnings.flat_map(|warning| named(warning.parameter)).collect();
    stream.warnings.clear();
    stream.params = Params::default();
    // What was merely asked of the encoder does not count, but for what decides which encoder it is.
    Ok((format!("{stream:?} {:?} {:?}", settings.map(|settings| settings.codec), mapping.becomes), warned))
}

#[test]
fn no_parameter_is_ignored_in_silence() {
    let (mut tried, mut ignored) = (0, Vec::new());
    for parameter in TABLE {
        let operator = if parameter.page == Page::Audio { Operator::Audio } else { Operator::Video };
        let name = parameter.name;
        // A size that is not 16 to 9, as aspects are by themselves.
        let plain: &[_] = if operator == Operator::Audio { &[] } else { &[("resolutionw", "1024")] };
        let besides = [beside(name), plain];
        for (value, beside) in
            values(parameter).iter().flat_map(|value| besides.map(|beside| (value, beside)))
        {
            let neutral = parameter.parse(value).ok() == parameter.default();
            if neutral || SAME.contains(&(name, value)) {
                continue;
            }
            tried += 1;
            let without = done(operator, beside).unwrap_or_default();
            let with = done(operator, &[beside, &[(name, &**value)]].concat());
            let heeded = match (parameter.standing, &with) {
                (Standing::Later(part), Err(reason)) => reason.starts_with(name) && reason.contains(part),
                (Standing::Later(_), Ok(_)) => false,
                (Standing::Elsewhere, Ok((_, warned))) => warned.contains(&name),
                (Standing::Here, Ok((what, warned))) => *what != without.0 || warned.contains(&name),
                (Standing::Elsewhere | Standing::Here, Err(_)) => true,
            };
            if !heeded {
                ignored.push(format!("{name} {value} beside {beside:?}: {:?}", with.err()));
            }
        }
    }
    assert!(ignored.is_empty(), "{ignored:#?}");
    assert!(tried > 150, "{tried} values");
}
