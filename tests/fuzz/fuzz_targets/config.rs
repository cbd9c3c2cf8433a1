//! Configuration files of all programs, and every value of the command line that has a form of its own.

#![no_main]

use std::fmt::Debug;

use audio::map::ChannelMap;
use control::config::{self, Span};
use device::capture::Source;
use device::playback::Sink;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|text: &str| {
    check_settings::<sender::args::Settings>(text);
    check_settings::<receiver::args::Settings>(text);
    check_settings::<nvenc_bridge::args::Settings>(text);
    if let Ok(settings) = toml::from_str::<nvenc_bridge::args::Settings>(text) {
        for stream in settings.streams() {
            let _ = stream.check();
        }
    }
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(String::from(span).parse(), Ok(span));
    }
    if let Ok(map) = text.parse::<ChannelMap>() {
        assert_eq!(map.to_string().parse(), Ok(map));
    }
    let _ = text.parse::<Source>();
    let _ = text.parse::<nvenc_bridge::sound::Source>();
    let _ = text.parse::<Sink>();
});

fn check_settings<T: Serialize + DeserializeOwned + Default + Debug>(text: &str) {
    let read = [toml::from_str::<T>(text).ok(), serde_json::from_str::<T>(text).ok()];
    for settings in read.iter().flatten() {
        let value = |settings: &T| serde_json::to_value(settings).unwrap();
        let none = T::default();
        for merged in [config::merge(settings, &none), config::merge(&none, settings)] {
            assert_eq!(value(&merged.unwrap()), value(settings));
        }
    }
}
