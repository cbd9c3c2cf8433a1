//! What becomes of each parameter: the command `params`.

use serde_json::{Value as Json, json};

use super::matrix::{self, Named};
use super::parameter::{Parameter, Standing};
use super::table;
use crate::encode::mapping::Mapping;
use crate::encode::{Settings, Warning};
use crate::plan::Stream;
use crate::sound;

/// One parameter of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name on the page.
    pub name: &'static str,
    /// Its name on the command line.
    pub flag: &'static str,
    /// Its label on the page.
    pub label: &'static str,
    /// What holds, as text; empty for nothing.
    pub value: String,
    /// Whether it was said, rather than being the default.
    pub given: bool,
    /// What it becomes.
    pub becomes: String,
    /// Why it does not become what it says.
    pub warning: Option<String>,
}

/// Every parameter of a stream that this version heeds, or really every one, with what the encoder makes of it.
pub fn rows(stream: &Stream, settings: Option<&Settings>, encoder: &Mapping, all: bool) -> Vec<Row> {
    let shown = |parameter: &&Parameter| {
        let page = parameter.page.has(stream.params.operator());
        page && (all || parameter.standing == Standing::Here || stream.params.is_given(parameter.name))
    };
    let row = |parameter: &'static Parameter| {
        let name = parameter.name;
        let warnings = || stream.warnings.iter().chain(&encoder.warnings);
        let said: Vec<_> = warnings().filter(|warning| concerns(warning, name)).collect();
        let noted: Vec<_> = encoder.becomes.iter().filter(|becomes| becomes.parameter == name).collect();
        Row {
            name,
            flag: parameter.flag,
            label: parameter.label,
            value: stream.params.value(name).map(|value| value.to_string()).unwrap_or_default(),
            given: stream.params.is_given(name),
            becomes: match (parameter.standing, noted.as_slice()) {
                (Standing::Later(part), _) => format!("nothing: it is for {part}"),
                (Standing::Elsewhere, _) => "nothing here".into(),
                (Standing::Here, []) => elsewhere(stream, settings, name),
                (Standing::Here, noted) => {
                    noted.iter().map(|becomes| becomes.what.as_str()).collect::<Vec<_>>().join(", ")
                }
            },
            warning: said.first().map(|warning| warning.message.clone()),
        }
    };
    table::TABLE.iter().filter(shown).map(row).collect()
}

/// Both sides of a picture are warned of at once.
fn concerns(warning: &Warning, name: &str) -> bool {
    warning.parameter == name || (warning.parameter == "resolution" && name.starts_with("resolution"))
}

/// What becomes of a parameter that is not the encoder's.
fn elsewhere(stream: &Stream, settings: Option<&Settings>, name: &str) -> String {
    let sound = stream.sound.as_ref();
    match name {
        "mode" => stream.protocol.label().into(),
        "group" | "ttl" => stream.group.map_or("each player's own address".into(), |group| {
            format!("{}:{}, ttl {}", group.address, group.port, group.ttl)
        }),
        "streamname" => format!("rtsp://ADDRESS:{}/{}", stream.port, stream.name),
        "videocodec" => settings
            .and_then(|settings| matrix::pictures(stream.protocol, settings.codec).ok())
            .unwrap_or_default()
            .into(),
        "resolutionw" | "resolutionh" => settings
            .map(|settings| format!("{}x{}", settings.size.width, settings.size.height))
            .unwrap_or_default(),
        "audiocodec" => sound
            .and_then(|sound| matrix::sound(stream.protocol, sound.codec).ok())
            .map(|(how, _)| how)
            .unwrap_or("no sound")
            .into(),
        "audiobitrate" => match sound {
            None => "no sound".into(),
            Some(sound) if sound.codec == sound::Codec::L16 => "the bits that rate and channels make".into(),
            Some(sound) => format!("{} bit/s", sound.bitrate.bits()),
        },
        "includesilentaudio" => match sound {
            None => "no sound".into(),
            Some(sound) if sound.source.is_silence() => "a silent track".into(),
            Some(sound) if sound.silent == sound::Silent::On => "silence in the gaps of the sound".into(),
            Some(_) => "gaps of the sound stay gaps".into(),
        },
        _ => String::new(),
    }
}

/// Rows for people, in columns.
pub fn text(rows: &[Row]) -> String {
    let flag = |row: &Row| format!("{} (--{})", row.name, row.flag);
    let wide = |cell: &dyn Fn(&Row) -> usize| rows.iter().map(cell).max().unwrap_or(0);
    let (names, values) = (wide(&|row| flag(row).len()), wide(&|row| row.value.len()));
    let line = |row: &Row| {
        let mark = if row.given { '*' } else { ' ' };
        let warning = row.warning.as_ref().map(|warning| format!("  ! {warning}")).unwrap_or_default();
        let line = format!("{mark} {:names$}  {:values$}  {}{warning}", flag(row), row.value, row.becomes);
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// Rows for programs.
pub fn value(rows: &[Row]) -> Json {
    let row = |row: &Row| {
        json!({
            "name": row.name,
            "flag": row.flag,
            "label": row.label,
            "value": row.value,
            "given": row.given,
            "becomes": row.becomes,
            "warning": row.warning,
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::software::Software;
    use crate::params::Params;
    use crate::plan::Plan;

    fn shown(entries: &[(&str, &str)], all: bool) -> Vec<Row> {
        let mut params = Params::default();
        entries.iter().for_each(|(name, value)| params.set(name, &(*value).into()).unwrap());
        let plan = Plan::new(&crate::args::Settings { params, ..Default::default() }).unwrap();
        let stream = &plan.streams[0];
        let settings = stream.foreseen().unwrap();
        let mapping =
            settings.as_ref().map(|settings| Software::Openh264.mapping(settings)).unwrap_or_default();
        rows(stream, settings.as_ref(), &mapping, all)
    }

    fn row(rows: &[Row], name: &str) -> Row {
        rows.iter().find(|row| row.name == name).cloned().unwrap_or_else(|| panic!("{name} is not shown"))
    }

    #[test]
    fn each_parameter_of_the_encoder_becomes_something_or_is_warned_of() {
        let asked = [
            ("maxbframes", "2"),
            ("forcevbvbufsize", "on"),
            ("vbvbufsize", "1"),
            ("fps", "25"),
            ("intrarefreshperiod", "30"),
            ("outputaspect", "custom"),
            ("aspect1", "4"),
            ("aspect2", "3"),
        ];
        let rows = shown(&asked, false);
        for name in [
            "fps",
            "videocodec",
            "profile",
            "quality",
            "keyframeinterval",
            "maxbframes",
            "intrarefreshperiod",
            "intrarefreshlength",
            "bitratemode",
            "avgbitrate",
            "maxbitrate",
            "numslices",
            "vbvbufsize",
            "outputaspect",
        ] {
            let row = row(&rows, name);
            assert!(!row.becomes.is_empty() || row.warning.is_some(), "{row:?}");
        }
        assert_eq!(row(&rows, "profile").becomes, "uiProfileIdc 100, iEntropyCodingModeFlag 1");
        assert!(row(&rows, "maxbframes").warning.unwrap().contains("B-pictures"));
        assert!(row(&rows, "fps").given && !row(&rows, "quality").given);
    }

    #[test]
    fn only_the_operators_own_parameters_are_shown_and_all_of_them_when_asked() {
        let sound = shown(&[("operator", "audiostreamout"), ("audiochop", "tone")], true);
        assert!(sound.iter().all(|row| row.name != "fps" && row.name != "webrtcvideotrack"));
        assert_eq!(
            row(&sound, "webrtctrack").becomes,
            "nothing: it is for WebRTC, which this version does not speak"
        );
        assert_eq!(row(&sound, "audiocodec").becomes, "RTP payload of RFC 2250");
        let plain = shown(&[], false);
        assert!(plain.iter().all(|row| row.name != "url"));
        let table = text(&plain);
        assert!(
            table.lines().any(|line| line.contains("streamname (--stream-name)")
                && line.ends_with("rtsp://ADDRESS:8554/stream")),
            "{table}"
        );
    }
}
