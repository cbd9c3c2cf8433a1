//! Every parameter with every value of its menu, or with values from one end of its range to the other: each changes what is
//! done, is warned of, or is refused by name. None is ignored in silence.

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
];

/// What a parameter needs beside it to mean something.
fn beside(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "rawformat" => &[("pictures", "-")],
        "group" | "ttl" => &[("multicast", "on")],
        "intrarefreshlength" => &[("intrarefreshperiod", "40")],
        "maxbitrate" => &[("bitratemode", "variable")],
        "forcevbvbufsize" => &[("vbvbufsize", "1")],
        "vbvbufsize" => &[("forcevbvbufsize", "on")],
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
        (Kind::Text, "pictures") => vec!["-".into(), "unix:/nonexistent".into(), "none.mp4".into()],
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
    let warned = stream.warnings.iter().chain(&mapping.warnings).map(|warning| warning.parameter).collect();
    stream.warnings.clear();
    stream.params = Params::default();
    // What was merely asked of the encoder does not count, but for what decides which encoder it is.
    Ok((format!("{stream:?} {:?} {:?}", settings.map(|settings| settings.codec), mapping.becomes), warned))
}

#[test]
fn no_parameter_is_ignored_in_silence() {
    let mut tried = 0;
    for parameter in TABLE {
        let operator = if parameter.page == Page::Audio { Operator::Audio } else { Operator::Video };
        let name = parameter.name;
        let without = done(operator, beside(name)).unwrap_or_default();
        for value in values(parameter) {
            let neutral = parameter.parse(&value).ok() == parameter.default();
            if neutral || SAME.contains(&(name, &value)) {
                continue;
            }
            tried += 1;
            let with = done(operator, &[beside(name), &[(name, &*value)]].concat());
            match (parameter.standing, with) {
                (Standing::Later(_), Ok(_)) => panic!("{name} {value}: it is not refused"),
                (Standing::Later(part), Err(reason)) => {
                    assert!(reason.starts_with(name) && reason.contains(part), "{name} {value}: {reason}");
                }
                (Standing::Elsewhere, with) => assert!(with.unwrap().1.contains(&name), "{name} {value}"),
                (Standing::Here, Ok((what, warned))) => {
                    let changed = what != without.0;
                    assert!(changed || warned.contains(&name), "{name} {value}: nothing comes of it");
                }
                (Standing::Here, Err(reason)) => {
                    assert!(reason.contains(name), "{name} {value}: {reason}");
                }
            }
        }
    }
    assert!(tried > 150, "{tried} values");
}
