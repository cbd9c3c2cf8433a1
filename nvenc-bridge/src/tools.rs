//! Commands beside streaming.

use control::cli::{self, Outcome};
use serde::Serialize;
use serde_json::json;

use crate::args::{Printed, Shown, Tool};
use crate::encode;
use crate::encode::mapping::Mapping;
use crate::encode::nvenc;
use crate::encode::nvenc::library::Paths;
use crate::encode::software::Software;
use crate::params::becomes;
use crate::plan::{Encoder, Plan, Stream};
use crate::probe::Report;
use crate::selftest::Selftest;

/// Does what is asked.
///
/// # Errors
/// One line: it could not start as asked.
pub fn run(tool: &Tool) -> Result<Outcome, String> {
    match tool {
        Tool::Params(shown) => params(shown),
        Tool::Probe(printed) => report(printed, Report::to_string),
        Tool::Caps(printed) => report(printed, Report::details),
        Tool::Selftest => selftest(),
    }
}

/// Prints what NVIDIA's there is.
fn report(printed: &Printed, text: fn(&Report) -> String) -> Result<Outcome, String> {
    let report = Report::new(&Paths::default());
    if printed.json {
        print_json(&report)?
    } else {
        println!("{}", text(&report))
    }
    Ok(Outcome::Done)
}

fn selftest() -> Result<Outcome, String> {
    let selftest = Selftest::run(&Paths::default());
    print_json(&selftest)?;
    Ok(if selftest.passed() { Outcome::Done } else { Outcome::Failed })
}

fn print_json(value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(())
}

/// Prints every parameter of every stream.
fn params(shown: &Shown) -> Result<Outcome, String> {
    let settings = cli::settings(shown.settings.clone(), shown.config.as_deref())?;
    let plan = Plan::new(&settings)?;
    let mut values = Vec::new();
    for stream in &plan.streams {
        let foreseen = stream.foreseen()?;
        let (encoder, mapping) = match &foreseen {
            Some(settings) => encoder(stream, settings)?,
            None => ("none".into(), Mapping::default()),
        };
        let rows = becomes::rows(stream, foreseen.as_ref(), &mapping, shown.all);
        if settings.json {
            values.push(
                json!({"stream": stream.name, "encoder": encoder, "parameters": becomes::value(&rows)}),
            );
        } else {
            println!("{}, encoded by {encoder}:\n{}", stream.name, becomes::text(&rows));
        }
    }
    if settings.json {
        println!("{}", json!(values));
    }
    Ok(Outcome::Done)
}

/// Which encoder it would be, and what that one makes of the settings.
fn encoder(stream: &Stream, settings: &encode::Settings) -> Result<(String, Mapping), String> {
    let asked = stream.pictures.as_ref().map(|pictures| pictures.encoder);
    let software = match asked {
        Some(Encoder::Software(software)) => software,
        Some(Encoder::Auto | Encoder::Nvenc) | None => {
            let report = Report::new(&Paths::default());
            let codecs =
                report.cards.iter().flat_map(|card| card.codecs.iter().map(move |caps| (card, caps)));
            let mut able = codecs.filter(|(_, caps)| caps.codec == settings.codec);
            if let Some((card, caps)) = able.next() {
                return Ok((format!("NVENC on {}", card.name), nvenc::mapping::foreseen(settings, caps)));
            }
            if asked == Some(Encoder::Nvenc) {
                return Err(format!("encoder: {}", report.summary));
            }
            Software::choose(settings).map_err(|error| format!("videocodec: {error}"))?
        }
    };
    Ok((software.label().into(), software.mapping(settings)))
}
