//! From what was written to what will be done: every stream decided, nothing started.

use crate::args::Settings;
use crate::encode::software::Software;
use crate::encode::{self, Warning};
use crate::params::matrix::Protocol;
use crate::params::rules::{self, Origin, Sound};
use crate::params::{Operator, Params};
use crate::picture::Size;
use crate::source::frames::Framing;
use crate::source::spec::Spec;

/// What the bridge will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each stream, in the order of the file.
    pub streams: Vec<Stream>,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What stands behind the `/` of its address.
    pub name: String,
    /// Of the server.
    pub port: u16,
    /// Whether it is served at all.
    pub active: bool,
    /// Whether it goes to a group where a player does not ask otherwise.
    pub multicast: bool,
    /// How it leaves.
    pub protocol: Protocol,
    /// Its pictures, where it has any.
    pub pictures: Option<Pictures>,
    /// Its sound, where it has any.
    pub sound: Option<Sound>,
    /// What is done otherwise than its parameters say, as far as is known before pictures come.
    pub warnings: Vec<Warning>,
    /// What it was made from.
    pub params: Params,
}

/// Pictures of a stream.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// Where they come from.
    pub source: Spec,
    /// What encodes them.
    pub encoder: Encoder,
}

/// `encoder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// NVENC where there is one, else software.
    Auto,
    /// NVENC or nothing.
    Nvenc,
    /// This one or nothing.
    Software(Software),
}

/// Pictures of which nothing is known yet are taken for such, so that their parameters are checked before they come.
const UNSEEN: Origin = Origin { size: Size { width: 1280, height: 720 }, rate: None, aspect: None };

impl Plan {
    /// Decides everything.
    ///
    /// # Errors
    /// One line that names the parameter, and the stream where there are several.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut streams: Vec<Stream> = Vec::new();
        let all = settings.streams();
        for params in &all {
            let place = match all.len() {
                1 => String::new(),
                _ => format!("stream `{}`: ", params.text("streamname")),
            };
            let stream = Stream::new(params).map_err(|reason| format!("{place}{reason}"))?;
            if streams.iter().any(|other| other.port == stream.port && other.name == stream.name) {
                return Err(format!("streamname: `{}` stands twice on port {}", stream.name, stream.port));
            }
            streams.push(stream);
        }
        Ok(Self { streams })
    }
}

impl Stream {
    fn new(params: &Params) -> Result<Self, String> {
        let mut warnings = params.check()?;
        let name = params.text("streamname");
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if name.is_empty() || !name.chars().all(fits) || name.split('/').any(str::is_empty) {
            return Err(format!(
                "streamname: `{name}` does not fit into an address: letters, digits, - . _ ~ do, and / between them"
            ));
        }
        let protocol = rules::protocol(params)?;
        let (sound, heard) = rules::sound(params, protocol)?;
        warnings.extend(heard);
        let pictures = match params.operator() {
            Operator::Audio => None,
            Operator::Video => Some(Pictures { source: Spec::new(params)?, encoder: Encoder::new(params)? }),
        };
        if let Some(pictures) = &pictures {
            let origin = pictures.source.known().unwrap_or(UNSEEN);
            let (settings, seen) = rules::pictures(params, protocol, &origin)?;
            warnings.extend(seen);
            if let Encoder::Software(software) = pictures.encoder {
                software.takes(settings.codec).map_err(|error| format!("encoder: {error}"))?;
            }
        }
        Ok(Self {
            name,
            port: params.count("port") as u16,
            active: params.is_on("active"),
            multicast: params.is_on("multicast"),
            protocol,
            pictures,
            sound,
            warnings,
            params: params.clone(),
        })
    }

    /// What the encoder is asked for, once pictures are known, and what is done otherwise than the parameters say.
    ///
    /// # Errors
    /// One line, where such pictures cannot be encoded.
    pub fn settings(&self, origin: &Origin) -> Result<(encode::Settings, Vec<Warning>), String> {
        rules::pictures(&self.params, self.protocol, origin)
    }

    /// What would be encoded, as far as is known before pictures come.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn foreseen(&self) -> Result<Option<encode::Settings>, String> {
        let Some(pictures) = &self.pictures else { return Ok(None) };
        let origin = pictures.source.known().unwrap_or(UNSEEN);
        self.settings(&origin).map(|(settings, _)| Some(settings))
    }
}

impl Encoder {
    fn new(params: &Params) -> Result<Self, String> {
        let name = params.text("encoder");
        match name.as_str() {
            "auto" => Ok(Self::Auto),
            "nvenc" => Ok(Self::Nvenc),
            name => Software::named(name)
                .map(Self::Software)
                .ok_or_else(|| format!("encoder: there is no `{name}`")),
        }
    }
}

impl Spec {
    /// What is known of its pictures before it is opened.
    pub fn known(&self) -> Option<Origin> {
        let (size, rate, aspect) = match self {
            Self::Pattern(size) => (*size, None, None),
            Self::Octets(_, Framing::Raw(shape)) => (shape.size, shape.rate, shape.aspect),
            Self::Octets(..) => return None,
        };
        Some(Origin { size, rate, aspect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(streams: &[&[(&str, &str)]]) -> Result<Plan, String> {
        let stream = streams.iter().map(|entries| {
            let mut params = Params::default();
            entries.iter().for_each(|(name, value)| params.set(name, &(*value).into()).unwrap());
            params
        });
        Plan::new(&Settings { stream: stream.collect(), ..Settings::default() })
    }

    #[test]
    fn nothing_at_all_is_a_test_pattern_over_rtsp() {
        let plan = plan(&[]).unwrap();
        let [stream] = &plan.streams[..] else { panic!("one stream") };
        assert_eq!((stream.name.as_str(), stream.port, stream.active), ("stream", 8554, true));
        assert!(stream.sound.is_none() && stream.warnings.is_empty() && !stream.multicast);
        let settings = stream.foreseen().unwrap().unwrap();
        assert_eq!(settings.size, Size { width: 1280, height: 720 });
        assert_eq!((settings.average_bitrate, settings.keyframe_interval), (4_000_000, 60));
    }

    #[test]
    fn sound_alone_is_a_stream_too() {
        let plan =
            plan(&[&[("operator", "audiostreamout"), ("audiochop", "tone"), ("mode", "rtsp")]]).unwrap();
        let stream = &plan.streams[0];
        assert!(stream.pictures.is_none());
        let sound = stream.sound.as_ref().unwrap();
        assert_eq!((sound.bitrate, sound.rates), (128_000, &[44_100, 48_000][..]));
    }

    #[test]
    fn what_cannot_be_heeded_is_refused_by_name() {
        for (entries, words) in [
            (&[("mode", "srt")][..], "mode: this version does not speak srt"),
            (&[("mode", "rtsp")], "mode: Video Stream Out calls `rtsp` rtspserver"),
            (&[("url", "rtmp://h/a")], "url: it is for RTMP and SRT"),
            (&[("forcemuxrate", "on")], "forcemuxrate: it is for MPEG-TS"),
            (&[("perframemetadata", "chop1")], "perframemetadata: it is for metadata"),
            (&[("outputresolution", "half")], "outputresolution: it is for shaping"),
            (
                &[("operator", "audiostreamout"), ("audiochop", "tone"), ("fps", "30")],
                "fps: Audio Stream Out has no",
            ),
            (&[("operator", "audiostreamout")], "audiochop: "),
            (&[("streamname", "a b")], "streamname: "),
            (&[("streamname", "/a")], "streamname: "),
            (&[("forcevbvbufsize", "on")], "forcevbvbufsize: it needs vbvbufsize"),
            (&[("intrarefreshperiod", "1")], "intrarefreshperiod: "),
            (&[("encoder", "openh264"), ("videocodec", "av1")], "encoder: openh264 makes"),
            (&[("pictures", "none.mp4")], "pictures: none.mp4"),
        ] {
            let error = plan(&[entries]).unwrap_err();
            assert!(error.contains(words), "{entries:?}: {error}");
        }
        let twice = plan(&[&[("streamname", "a")], &[("streamname", "a")]]).unwrap_err();
        assert!(twice.contains("`a` stands twice on port 8554"), "{twice}");
        let second = plan(&[&[("streamname", "a")], &[("streamname", "b"), ("mode", "srt")]]).unwrap_err();
        assert!(second.starts_with("stream `b`: mode: "), "{second}");
    }

    #[test]
    fn a_value_that_changes_nothing_is_taken_also_of_a_later_part() {
        let neutral =
            [("outputresolution", "useinput"), ("npasses", "1"), ("chanmask", "rgba"), ("forcemuxrate", "0")];
        assert!(plan(&[&neutral]).unwrap().streams[0].warnings.is_empty());
    }
}
