//! The `receiver` program: a thin shell around the library.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use receiver::args::{Cli, Command, Settings};
use receiver::run::{Outcome, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Devices { json }) => {
            print!("{}", device::system::table(json));
            return ExitCode::SUCCESS;
        }
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "receiver", &mut std::io::stdout());
            return ExitCode::SUCCESS;
        }
        None => {}
    }
    match settings(&cli).and_then(|settings| run(&settings)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn settings(cli: &Cli) -> Result<Settings, String> {
    let Some(path) = &cli.config else { return Ok(cli.settings.clone()) };
    let file = control::config::load(path).map_err(|error| error.to_string())?;
    control::config::merge(&cli.settings, &file).map_err(|error| error.to_string())
}
