use super::*;
use crate::encode::{BitrateMode, Codec, Profile, Quality};
use crate::picture::{Rate, Size};
use crate::sound::{self, Silent};
use matrix::Protocol;
use rules::Origin;

const ORIGIN: Origin = Origin { size: Size { width: 1280, height: 720 }, rate: None, aspect: None };

fn params(entries: &[(&str, &str)]) -> Params {
    let mut params = Params::default();
    entries.iter().for_each(|(name, value)| params.set(name, &(*value).into()).unwrap());
    params
}

/// Names of the parameters that are warned of, for pictures over RTSP.
fn warned(entries: &[(&str, &str)]) -> Vec<&'static str> {
    let (_, warnings) = rules::pictures(&params(entries), Protocol::Rtsp, &ORIGIN).unwrap();
    warnings.iter().map(|warning| warning.parameter).collect()
}

fn settings(entries: &[(&str, &str)]) -> crate::encode::Settings {
    rules::pictures(&params(entries), Protocol::Rtsp, &ORIGIN).unwrap().0
}

#[test]
fn every_row_is_sound() {
    for parameter in table::TABLE {
        let name = parameter.name;
        assert_eq!(table::TABLE.iter().filter(|other| other.name == name).count(), 1, "{name} stands twice");
        assert_eq!(table::TABLE.iter().filter(|other| other.flag == parameter.flag).count(), 1, "{name}");
        assert!(parameter.default.is_empty() || parameter.default().is_some(), "{name}'s default");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
        assert!(!parameter.help.is_empty() && !parameter.help.ends_with('.'), "{name}");
    }
}

#[test]
fn menus_hold_exactly_the_encoders_own_values() {
    fn same<E: ValueEnum>(name: &str) {
        let Kind::Menu(entries) = table::find(name).unwrap().kind else { panic!("{name} is no menu") };
        let named: Vec<_> = E::value_variants().iter().filter_map(E::to_possible_value).collect();
        let named: Vec<_> = named.iter().map(|value| value.get_name().to_string()).collect();
        assert_eq!(entries.iter().map(|entry| entry.0).collect::<Vec<_>>(), named, "{name}");
    }
    same::<Codec>("videocodec");
    same::<Profile>("profile");
    same::<Quality>("quality");
    same::<BitrateMode>("bitratemode");
    same::<sound::Codec>("audiocodec");
}

#[test]
fn every_value_reads_back_as_it_was_written() {
    for parameter in table::TABLE {
        let texts: Vec<String> = match parameter.kind {
            Kind::Toggle | Kind::Pulse => vec!["on".into(), "off".into()],
            Kind::Int(least, most) => vec![least.to_string(), most.to_string()],
            Kind::Float(least, most) => vec![least.to_string(), most.to_string(), (most / 3.0).to_string()],
            Kind::Text => vec!["any text".into()],
            Kind::Menu(entries) => entries.iter().map(|entry| entry.0.to_string()).collect(),
        };
        for text in texts {
            let params = params(&[(parameter.name, &text)]);
            let json = serde_json::to_value(&params).unwrap();
            assert_eq!(serde_json::from_value::<Params>(json).unwrap(), params, "{}", parameter.name);
            assert_eq!(params.value(parameter.name).unwrap().to_string(), text, "{}", parameter.name);
        }
    }
}

#[test]
fn what_is_out_of_range_or_of_another_kind_is_said() {
    let set = |name: &str, value: Json| Params::default().set(name, &value).unwrap_err();
    assert_eq!(set("port", 0.into()), "port: `0` is not a whole number from 1 to 65535");
    assert_eq!(set("port", "x".into()), "port: `x` is not a whole number from 1 to 65535");
    assert_eq!(set("avgbitrate", 4295.into()), "avgbitrate: `4295` is not a number from 0.01 to 4294");
    assert_eq!(set("avgbitrate", "NaN".into()), "avgbitrate: `NaN` is not a number from 0.01 to 4294");
    assert_eq!(set("active", "maybe".into()), "active: `maybe` is not `on` or `off`");
    assert_eq!(set("streamname", "a\nb".into()), "streamname: `a\\nb` is not a line of text");
    assert_eq!(set("profile", "extended".into()), "profile: `extended` is not one of: baseline, main, high");
    assert_eq!(set("port", Json::Null), "port: `null` is not a whole number from 1 to 65535");
    assert!(set("colour", 1.into()).starts_with("there is no parameter `colour`"));
    assert!(set("resolution", 5.into()).starts_with("resolution: a list of two numbers"));
}

#[test]
fn intra_refresh_takes_the_place_of_key_pictures_and_of_b_pictures() {
    let refresh = &[("intrarefreshperiod", "30"), ("intrarefreshlength", "10")];
    let seen = settings(refresh);
    assert_eq!((seen.keyframe_interval, seen.intra_refresh_period, seen.intra_refresh_length), (0, 30, 10));
    assert_eq!(warned(refresh), [""; 0]);
    let all = &[&refresh[..], &[("keyframeinterval", "60"), ("maxbframes", "2")]].concat();
    assert_eq!(warned(all), ["keyframeinterval", "maxbframes"]);
    assert_eq!(settings(all).max_b_frames, 0);
    let long = &[("intrarefreshperiod", "30"), ("intrarefreshlength", "30")];
    assert_eq!((warned(long), settings(long).intra_refresh_length), (vec!["intrarefreshlength"], 29));
    assert_eq!(settings(&[("intrarefreshperiod", "30")]).intra_refresh_length, 29);
    assert_eq!(warned(&[("intrarefreshlength", "5")]), ["intrarefreshlength"]);
}

#[test]
fn b_pictures_go_where_the_profile_and_the_protocol_know_them() {
    let two = ("maxbframes", "2");
    assert_eq!((settings(&[two]).max_b_frames, warned(&[two])), (2, vec![]));
    let baseline = &[two, ("profile", "baseline")];
    assert_eq!((settings(baseline).max_b_frames, warned(baseline)), (0, vec!["maxbframes"]));
    for (codec, left) in [("h264", 0), ("h265", 0), ("av1", 2)] {
        let params = params(&[two, ("videocodec", codec)]);
        let (settings, _) = rules::pictures(&params, Protocol::Webrtc, &ORIGIN).unwrap();
        assert_eq!(settings.max_b_frames, left, "{codec}");
    }
}

#[test]
fn bit_rates_and_the_buffer_come_in_megabits() {
    let plain = settings(&[("avgbitrate", "2.5")]);
    assert_eq!((plain.average_bitrate, plain.max_bitrate, plain.vbv), (2_500_000, 2_500_000, None));
    let variable = &[("bitratemode", "variable"), ("avgbitrate", "2"), ("maxbitrate", "3")];
    assert_eq!((settings(variable).max_bitrate, warned(variable)), (3_000_000, vec![]));
    assert_eq!(settings(&variable[..2]).max_bitrate, 4_000_000);
    let low = &[("bitratemode", "variable"), ("avgbitrate", "2"), ("maxbitrate", "1")];
    assert_eq!((settings(low).max_bitrate, warned(low)), (2_000_000, vec!["maxbitrate"]));
    assert_eq!(warned(&[("maxbitrate", "9")]), ["maxbitrate"]);
    assert_eq!(warned(&[("vbvbufsize", "1")]), ["vbvbufsize"]);
    assert_eq!(settings(&[("forcevbvbufsize", "1"), ("vbvbufsize", "0.5")]).vbv, Some(500_000));
}

#[test]
fn rates_of_television_are_fractions() {
    for (fps, pictures, seconds) in [
        (30.0, 30, 1),
        (29.97, 30_000, 1001),
        (23.976, 24_000, 1001),
        (59.94, 60_000, 1001),
        (12.5, 12_500, 1000),
        (1.0, 1, 1),
    ] {
        assert_eq!(rules::rate(fps), Rate { pictures, seconds }, "{fps}");
    }
}

#[test]
fn pictures_have_the_rate_and_shape_of_their_source_unless_told_otherwise() {
    let rate = Rate { pictures: 25, seconds: 1 };
    let origin = Origin { size: Size { width: 721, height: 577 }, rate: Some(rate), aspect: Some((4, 3)) };
    let seen = |entries: &[(&str, &str)]| rules::pictures(&params(entries), Protocol::Rtsp, &origin).unwrap();
    let (settings, warnings) = seen(&[]);
    assert_eq!((settings.rate, settings.aspect), (rate, Some((4, 3))));
    assert_eq!(settings.size, Size { width: 720, height: 576 });
    assert_eq!(warnings.iter().map(|warning| warning.parameter).collect::<Vec<_>>(), ["resolution"]);
    assert_eq!(seen(&[("outputaspect", "resolution")]).0.aspect, None);
    assert_eq!(
        seen(&[("outputaspect", "custom"), ("aspect1", "2.35"), ("aspect2", "1")]).0.aspect,
        Some((47, 20))
    );
    assert_eq!(seen(&[("fps", "50")]).0.rate, Rate { pictures: 50, seconds: 1 });
}

#[test]
fn what_a_codec_has_no_use_for_is_said() {
    assert_eq!(warned(&[("videocodec", "h265"), ("profile", "main")]), ["profile"]);
    assert_eq!(warned(&[("videocodec", "h265")]), [""; 0]);
    let tiles = &[("videocodec", "av1"), ("numslices", "6")];
    assert_eq!((warned(tiles), settings(tiles).slices), (vec!["numslices"], 4));
    assert_eq!(warned(&[("forceidr", "1")]), ["forceidr"]);
}

#[test]
fn silence_comes_as_the_menu_says() {
    let sound = |entries: &[(&str, &str)], protocol| rules::sound(&params(entries), protocol).unwrap();
    assert_eq!(sound(&[], Protocol::Rtsp).0, None);
    let silent = sound(&[], Protocol::Rtmp).0.unwrap();
    assert_eq!((silent.source.is_silence(), silent.rate), (true, 44_100));
    let on = sound(&[("includesilentaudio", "on"), ("audiochop", "tone")], Protocol::Rtsp).0.unwrap();
    assert_eq!((on.source.to_string().as_str(), on.silent), ("tone", Silent::On));
    assert_eq!(sound(&[("includesilentaudio", "off")], Protocol::Rtmp).0, None);
    let (none, warnings) = sound(&[("audiocodec", "aac")], Protocol::Rtsp);
    assert_eq!((none, warnings[0].parameter), (None, "audiocodec"));
}

#[test]
fn a_codec_that_a_protocol_does_not_carry_is_refused_with_a_reason() {
    let protocols = [Protocol::Rtsp, Protocol::Rtmp, Protocol::Srt, Protocol::Webrtc];
    let refused: Vec<_> = protocols
        .iter()
        .flat_map(|protocol| Codec::value_variants().iter().map(move |codec| (*protocol, *codec)))
        .filter(|(protocol, codec)| matrix::pictures(*protocol, *codec).is_err())
        .collect();
    assert_eq!(refused, [(Protocol::Srt, Codec::Av1)]);
    let refused: Vec<_> = protocols
        .iter()
        .flat_map(|protocol| sound::Codec::value_variants().iter().map(move |codec| (*protocol, *codec)))
        .filter(|(protocol, codec)| matrix::sound(*protocol, *codec).is_err())
        .collect();
    assert_eq!(
        refused,
        [
            (Protocol::Rtmp, sound::Codec::L16),
            (Protocol::Srt, sound::Codec::L16),
            (Protocol::Webrtc, sound::Codec::Mp3),
            (Protocol::Webrtc, sound::Codec::Aac),
            (Protocol::Webrtc, sound::Codec::L16),
        ]
    );
    let error = rules::pictures(&params(&[("videocodec", "av1")]), Protocol::Srt, &ORIGIN).unwrap_err();
    assert!(error.starts_with("videocodec: SRT carries H.264 or H.265"), "{error}");
}

#[test]
fn what_is_for_windows_elsewhere_is_taken_and_said_to_do_nothing() {
    let warnings = params(&[("fillmode", "best"), ("resmenu", "x")]).check().unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.parameter).collect::<Vec<_>>(), ["fillmode", "resmenu"]);
}
