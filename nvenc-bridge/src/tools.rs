//! Commands beside streaming.

use control::cli::{self, Outcome};
use serde_json::json;

use crate::args::{Shown, Tool};
use crate::encode;
use crate::encode::mapping::Mapping;
use crate::encode::software::Software;
use crate::params::becomes;
use crate::plan::{Encoder, Plan, Stream};

/// Does what is asked.
///
/// # Errors
/// One line: it could not start as asked.
pub fn run(tool: &Tool) -> Result<Outcome, String> {
    match tool {
        Tool::Params(shown) => params(shown),
    }
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
            None => ("none", Mapping::default()),
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
fn encoder(stream: &Stream, settings: &encode::Settings) -> Result<(&'static str, Mapping), String> {
    let asked = stream.pictures.as_ref().map(|pictures| pictures.encoder);
    let software = match asked {
        Some(Encoder::Software(software)) => software,
        Some(Encoder::Auto | Encoder::Nvenc) | None => {
            Software::choose(settings).map_err(|error| format!("videocodec: {error}"))?
        }
    };
    Ok((software.label(), software.mapping(settings)))
}
