//! Commands for speakers: a test signal on one of them, and when each is heard.

use control::cli::{self, Outcome};
use control::client::Client;
use control::signal::Signal;

use crate::align;
use crate::args::{Settings, Speakers, Tool};
use crate::book::Purpose;
use crate::plan::{self, Plan};
use crate::run;

/// Does what is asked.
///
/// # Errors
/// One line: it could not start as asked.
pub fn run(tool: &Tool) -> Result<Outcome, String> {
    match tool {
        Tool::Identify { name, speakers } => play(Signal::Identify, name, speakers),
        Tool::Test { kind, name, speakers } => play(*kind, name, speakers),
        Tool::Align(asked) => align::run(asked),
    }
}

/// Plays a signal to one client until interrupted. The others are sent nothing.
fn play(signal: Signal, name: &str, speakers: &Speakers) -> Result<Outcome, String> {
    let settings = settings(speakers, "silence")?;
    let mut clients = everybody(&settings)?;
    let client = named(&mut clients, name)?;
    client.test = Some(signal);
    client.trim.mute = false;
    run::stream(Plan { purpose: Purpose::Only(name.into()), ..plan(&settings, clients)? })
}

/// What the sender would do with this list and this configuration, but for the source.
pub(crate) fn settings(speakers: &Speakers, source: &str) -> Result<Settings, String> {
    let given = Settings {
        client: speakers.client.clone(),
        clients: speakers.clients.clone(),
        json: speakers.json,
        capture: Some(source.into()),
        ..Settings::default()
    };
    let settings = cli::settings(given, speakers.config.as_deref())?;
    Ok(Settings { channels: None, ..settings })
}

/// Every client, in the order in which the sender would have them.
pub(crate) fn everybody(settings: &Settings) -> Result<Vec<Client>, String> {
    let everybody = plan::merged(&plan::fixed(settings)?, &plan::listed(settings)?);
    if everybody.is_empty() {
        return Err("there are no clients: name a list with --clients FILE.json, or one with --client NAME=ADDRESS:PORT/CHANNELS".into());
    }
    Ok(everybody)
}

/// A plan for these clients as they are now, which writes no files. One channel of the source is enough for it.
pub(crate) fn plan(settings: &Settings, clients: Vec<Client>) -> Result<Plan, String> {
    let settings = Settings { clients: None, save: None, sdp: None, ..settings.clone() };
    Plan::with(&settings, clients, 1)
}

/// The client of this name.
///
/// # Errors
/// One line that names those there are.
pub(crate) fn named<'a>(clients: &'a mut [Client], name: &str) -> Result<&'a mut Client, String> {
    let names: Vec<_> = clients.iter().map(|client| client.name.as_str()).collect();
    let unknown = format!("there is no client `{name}`; there are: {}", names.join(", "));
    clients.iter_mut().find(|client| client.name == name).ok_or(unknown)
}
