//! A stream's parameters as requests and files have them: whatever is taken is decided, down to what encoders would be asked for.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvenc_bridge::args::Settings;
use nvenc_bridge::encode::software::Software;
use nvenc_bridge::params::Params;
use nvenc_bridge::params::becomes;
use nvenc_bridge::params::parameter::Kind;
use nvenc_bridge::params::rules::Origin;
use nvenc_bridge::params::table::TABLE;
use nvenc_bridge::picture::{Rate, Size};
use nvenc_bridge::plan::Plan;
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
enum Said<'a> {
    Entry(u8),
    Switch(bool),
    Whole(i64),
    Number(f64),
    Text(&'a str),
    Body(&'a str),
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    values: Vec<(u8, Said<'a>)>,
    size: (u16, u16),
    rate: Option<(u32, u32)>,
    aspect: Option<(u32, u32)>,
}

fuzz_target!(|input: Input<'_>| {
    let mut params = Params::default();
    for (place, said) in input.values {
        let parameter = &TABLE[usize::from(place) % TABLE.len()];
        let value = match (said, parameter.kind) {
            (Said::Entry(place), Kind::Menu(entries)) => json!(entries[usize::from(place) % entries.len()].0),
            (Said::Entry(number), _) => json!(number),
            (Said::Switch(on), _) => json!(on),
            (Said::Whole(number), _) => json!(number),
            (Said::Number(number), _) => json!(number),
            (Said::Text(text), _) => json!(text),
            (Said::Body(text), _) => serde_json::from_str(text).unwrap_or(Value::Null),
        };
        let before = serde_json::to_value(&params).unwrap();
        if let Err(reason) = params.set(parameter.name, &value) {
            assert!(reason.contains(parameter.name), "{reason}");
            assert_eq!(serde_json::to_value(&params).unwrap(), before);
        }
    }
    let settings = Settings { stream: vec![params], ..Settings::default() };
    let Ok(plan) = Plan::new(&settings) else { return };
    let (width, height) = input.size;
    let origin = Origin {
        size: Size { width: u32::from(width).clamp(1, 16_384), height: u32::from(height).clamp(1, 16_384) },
        rate: input
            .rate
            .map(|(pictures, seconds)| Rate { pictures: pictures.max(1), seconds: seconds.max(1) }),
        aspect: input.aspect.filter(|(wide, high)| *wide > 0 && *high > 0),
    };
    for stream in &plan.streams {
        let Ok((encoder, _)) = stream.settings(&origin) else { continue };
        let mapping = Software::Openh264.mapping(&encoder);
        let rows = becomes::rows(stream, Some(&encoder), &mapping, true);
        assert!(rows.len() <= TABLE.len() && !becomes::text(&rows).is_empty());
    }
});
