//! The frame of a program's command line: settings from options and a file, a few commands and the program's own beside
//! them, exit statuses.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config;

/// How a program that could start has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked: status 0.
    Done,
    /// It failed while running: status 1.
    Failed,
}

/// What a program is called and what it says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One line.
    pub about: &'static str,
    /// Shown below the options.
    pub examples: &'static str,
}

/// Everything a command line can hold.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli<S: Args, C: Subcommand> {
    #[command(subcommand)]
    command: Option<Command<C>>,
    #[command(flatten)]
    settings: S,
    /// Read settings from a TOML or JSON file; the names are those of the options, options stand before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command<C: Subcommand> {
    #[command(flatten)]
    Own(C),
    /// List the sound cards of this machine
    Devices {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Program {
    /// The command line as clap has it.
    pub fn command<S: Args, C: Subcommand>(&self) -> clap::Command {
        let command = Cli::<S, C>::command().name(self.name).version(self.version);
        command.about(self.about).after_help(self.examples)
    }

    /// Reads the command line and does what it asks: `run` with the settings, `own` with a command of the program's own,
    /// or `devices` to list sound cards, as JSON if so asked. An error of `run` or `own` is printed in one line, with
    /// status 2.
    pub fn main<S, C>(
        &self,
        devices: fn(bool) -> String,
        run: fn(&S) -> Result<Outcome, String>,
        own: fn(&C) -> Result<Outcome, String>,
    ) -> ExitCode
    where
        S: Args + Serialize + DeserializeOwned,
        C: Subcommand,
    {
        match self.dispatch(self.command::<S, C>().get_matches(), devices, run, own) {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::Failed) => ExitCode::from(1),
            Err(message) => {
                eprintln!("error: {message}");
                ExitCode::from(2)
            }
        }
    }

    fn dispatch<S, C>(
        &self,
        matches: ArgMatches,
        devices: fn(bool) -> String,
        run: fn(&S) -> Result<Outcome, String>,
        own: fn(&C) -> Result<Outcome, String>,
    ) -> Result<Outcome, String>
    where
        S: Args + Serialize + DeserializeOwned,
        C: Subcommand,
    {
        let cli = Cli::<S, C>::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        match cli.command {
            Some(Command::Own(command)) => return own(&command),
            Some(Command::Devices { json }) => print!("{}", devices(json)),
            Some(Command::Completions { shell }) => {
                clap_complete::generate(
                    shell,
                    &mut self.command::<S, C>(),
                    self.name,
                    &mut std::io::stdout(),
                );
            }
            None => return run(&settings(cli.settings, cli.config.as_deref())?),
        }
        Ok(Outcome::Done)
    }
}

/// Settings in which the command line's stand before those of a file, where there is one.
///
/// # Errors
/// One line that names the file.
pub fn settings<S: Serialize + DeserializeOwned>(given: S, file: Option<&Path>) -> Result<S, String> {
    let Some(path) = file else { return Ok(given) };
    let file = config::load(path).map_err(|error| error.to_string())?;
    config::merge(&given, &file).map_err(|error| error.to_string())
}
