//! The `nvenc-bridge` program: a thin shell around the library.

use std::process::ExitCode;

use control::cli::Outcome;
use nvenc_bridge::args::{PROGRAM, Settings};
use nvenc_bridge::plan::Plan;

fn main() -> ExitCode {
    PROGRAM.main(device::system::table, run, nvenc_bridge::tools::run)
}

fn run(settings: &Settings) -> Result<Outcome, String> {
    let plan = Plan::new(settings)?;
    for stream in &plan.streams {
        for warning in &stream.warnings {
            eprintln!("warning: {}: {}: {}", stream.name, warning.parameter, warning.message);
        }
    }
    Ok(Outcome::Done)
}
