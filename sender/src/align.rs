//! When a microphone hears each speaker.
//!
//! The microphone is the sender's source: what it captures gives the stream its positions, though none of it is sent. The
//! clients get a chirp instead, each in its turn, which begins at positions that are known; so its arrival in the same
//! capture needs no clock to be told. From position to arrival it takes the group's delay, the speaker's converter, the air
//! and the microphone's converter: all but the air is the same for all, since they are one group here, whatever the list
//! says, and have no delays of their own. Nor is anyone muted. Receivers that play by arrivals need the same latency for that.

mod table;
mod turns;

use std::time::Duration;

use audio::map::Trim;
use audio::send::{Policy, Wire};
use control::cli::Outcome;
use control::client::Client;
use control::display::{Display, Mode};
use control::signals::Signals;
use device::keeper::News;

use crate::args::Align;
use crate::book::{Active, Book, Purpose};
use crate::plan::Plan;
use crate::status::State;
use crate::tap::{self, Outlet};
use crate::{Sender, tools};
use table::Table;
use turns::Turns;

/// How often the control thread looks around: far more often than the tap is full.
const TICK: Duration = Duration::from_millis(50);

/// Measures every speaker, and tells.
///
/// # Errors
/// One line: it could not start as asked, or not write the list.
pub(crate) fn run(asked: &Align) -> Result<Outcome, String> {
    let mut settings = tools::settings(&asked.speakers, &asked.microphone)?;
    settings.rate = asked.rate.or(settings.rate);
    let mut clients = tools::everybody(&settings)?;
    if let Some(name) = &asked.to {
        tools::named(&mut clients, name)?;
    }
    let bare = |client: &Client| {
        let trim = Trim { mute: false, ..client.trim };
        Client { group: None, delay: None, trim, ..client.clone() }
    };
    let plan = tools::plan(&settings, clients.iter().map(bare).collect())?;
    let mut display = Display::new(plan.json, false, None);
    let names: Vec<_> = clients.iter().map(|client| client.name.clone()).collect();
    let packets = plan.packets;
    let (rate, turns) = listen(plan, &mut display)?;
    let table = Table::new(names, rate, turns.heard(), asked.to.as_deref());
    if display.mode() == Mode::Json {
        table.values().for_each(|value| display.event("", "speaker", value));
        display.event("", "summary", table.summary());
    } else {
        print!("{}", table.text());
    }
    if let Some(path) = &asked.save {
        let has_time = |client: &Client| packets.spec(client).is_ok_and(|spec| spec.wire == Wire::Rtp);
        table.correct(&mut clients, has_time);
        control::list::save(path, &clients).map_err(|error| format!("--save: {error}"))?;
    }
    Ok(if table.complete() { Outcome::Done } else { Outcome::Failed })
}

/// Plays and listens until everybody had a turn, or something ends it.
fn listen(plan: Plan, display: &mut Display) -> Result<(u32, Turns), String> {
    let signals = Signals::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let (rate, channels) = (plan.capture.rate, plan.capture.channels);
    let microphone = plan.capture.description.clone();
    let book = Book::new(plan.packets, (rate, channels), microphone.clone(), plan.network.bind);
    // Nobody minds how late a chirp is, but all turns need the same delay.
    let policy = plan.delay.map(|policy| Policy::Fixed(policy.most()));
    let mut book = book.grouped(policy).meant_to(Purpose::Align);
    let (routing, problems) = book.update(&plan.fixed);
    problems.iter().for_each(|problem| display.warn(problem));
    if book.active().is_empty() {
        return Err("no client can be served; see the warnings above".into());
    }
    let (tap, mut outlet) = tap::pair(rate, channels);
    let mut sender = Sender::start_tapped(plan.capture, routing, &plan.network, plan.party, Some(tap))?;
    let mut turns = Turns::new(rate, channels, plan.fixed.len());
    let text = format!("listening with {microphone}: {} speakers, {} s", plan.fixed.len(), turns.seconds());
    display.event(&text, "listening", serde_json::json!({ "microphone": microphone, "rate": rate }));
    while !turns.done() && !signals.stop() {
        // Asked before the tap is emptied: what was captured before the end is heard.
        let ended = sender.ended();
        take(&mut outlet, &mut turns);
        while let Some(news) = sender.poll_capture() {
            if let News::Lost(reason) = news {
                display.warn(&format!("{microphone} is gone: {reason}"));
                return Ok((rate, turns));
            }
        }
        if ended {
            display.warn(&format!("{microphone} has ended before all speakers were heard"));
            break;
        }
        std::thread::sleep(TICK);
    }
    let behind = |active: &&Active| matches!(State::of(active, policy), State::Late | State::CannotKeepUp);
    for active in book.active().iter().filter(behind) {
        let name = &active.client.name;
        display.warn(&format!(
            "`{name}` plays late, which counts as distance: let it have less latency, or raise delay-max in --config FILE"
        ));
    }
    sender.finish();
    Ok((rate, turns))
}

fn take(outlet: &mut Outlet, turns: &mut Turns) {
    while let Some((position, block)) = outlet.take() {
        turns.listen(position, block);
    }
}
