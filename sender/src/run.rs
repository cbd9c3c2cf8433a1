//! The control thread: starts the sender, keeps the list current, shows the state, stops cleanly.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use audio::secure::Secrecy;
use audio::send::{Policy, Routing};
use control::cli::Outcome;
use control::client::Client;
use control::display::Display;
use control::signals::Signals;
use device::keeper::News;
use serde_json::json;

use crate::Sender;
use crate::args::Settings;
use crate::book::Book;
use crate::plan::{self, Plan};
use crate::sap::Announcer;
use crate::sdp;
use crate::status::{self, Source, State};
use crate::told::Told;

/// How often the control thread looks around, the list's file included: a change of it is to be heard soon.
const TICK: Duration = Duration::from_millis(10);
/// For this long a list that has changed and cannot be read is taken for one that is still being written.
const WRITING: Duration = Duration::from_millis(200);

/// Streams until the source ends or a signal stops it.
///
/// # Errors
/// One line: it could not start as asked.
pub fn run(settings: &Settings) -> Result<Outcome, String> {
    stream(Plan::new(settings)?)
}

/// Streams as it is planned.
///
/// # Errors
/// One line: it could not start as asked.
pub(crate) fn stream(plan: Plan) -> Result<Outcome, String> {
    let signals = Signals::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let source = Source {
        description: plan.capture.description.clone(),
        rate: plan.capture.rate,
        channels: plan.capture.channels,
        length: plan.capture.length,
    };
    let mut list = List {
        path: plan.clients,
        save: plan.save,
        sdp: plan.sdp,
        announcer: plan.sap.map(Announcer::new),
        fixed: plan.fixed,
        listed: Vec::new(),
        seen: None,
        unread: None,
    };
    list.listed = list.load()?;
    let mut display = Display::new(plan.json, false, plan.status_interval);
    let shape = (source.rate, source.channels);
    plan.warning.iter().for_each(|warning| display.warn(warning));
    let book = Book::new(plan.packets, shape, source.description.clone(), plan.network.bind);
    let book = book.grouped(plan.delay).within(plan.network.ttl);
    let mut book = book.meant_to(plan.purpose).encrypted(plan.party.crypto()?);
    let routing = list.enter(&mut book, &mut display);
    if book.active().is_empty() {
        return Err("no client can be served; see the warnings above".into());
    }
    let stream = plan.party.stream();
    let mut sender = Sender::start(plan.capture, routing, &plan.network, plan.party)?;
    if let Some(octets) = sender.short_buffer {
        display.warn(&os::udp::remedy(octets));
    }
    introduce(&source, &book, &mut display);
    if let Some(stream) = stream {
        let text = format!("encrypted; strangers need what `sender keygen FILE --sdp {stream}` prints");
        display.event(&text, "encrypted", json!({ "stream": stream }));
    }
    let outcome = attend(&signals, &source, &mut list, &mut book, &mut sender, &mut display);
    list.announcer = None;
    sender.finish();
    conclude(&source, &book, &sender, &mut display);
    Ok(outcome)
}

fn attend(
    signals: &Signals,
    source: &Source,
    list: &mut List,
    book: &mut Book,
    sender: &mut Sender,
    display: &mut Display,
) -> Outcome {
    // Each goes on from the one before, so that none may be left out.
    let mut waiting: VecDeque<Box<Routing>> = VecDeque::new();
    let mut told = false;
    let (mut slow, mut secrecies) = (Told::new(), Told::new());
    while !signals.stop() && !sender.ended() {
        let asked = signals.take_reload();
        if asked || list.changed() {
            waiting.extend(list.reload(asked, book, display));
        }
        while let Some(routing) = waiting.pop_front() {
            if let Err(refused) = sender.route(routing) {
                waiting.push_front(refused);
                break;
            }
        }
        sender.collect();
        list.announcer.iter_mut().for_each(Announcer::poll);
        while let Some(news) = sender.poll_capture() {
            heed(&news, source, display);
        }
        if !told && sender.counters.datagrams.get() > 0 {
            told = true;
            if !sender.counters.realtime.load(Ordering::Acquire) {
                display.warn(&os::realtime::remedy());
            }
        }
        flag(book, &mut slow, display);
        tell_secrecy(book, &mut secrecies, display);
        if display.due() {
            let lines = status::lines(source, sender, book);
            display.state(&lines, || status::value("status", source, sender, book));
        }
        sender.wait(TICK);
    }
    if sender.capture.failed.load(Ordering::Acquire) {
        display.warn(&format!("{} has failed and brings no more sound", source.description));
        return Outcome::Failed;
    }
    Outcome::Done
}

/// Says which clients need longer than their group's delay may become, once each time.
fn flag(book: &Book, slow: &mut Told<bool>, display: &mut Display) {
    let Some(policy) = book.policy() else { return };
    let most = f64::from(policy.most()) / 1e3;
    let option = if let Policy::Auto(_) = policy { "--delay-max" } else { "--delay" };
    for (active, slow) in slow.news(book, |active| State::of(active, Some(policy)) == State::CannotKeepUp) {
        let name = &active.client.name;
        let needs = active.counters.wanted_us.get() as f64 / 1e3;
        let (text, kind) = if slow {
            let text = format!(
                "{name} cannot keep up: it needs {needs:.1} ms, {option} allows {most:.1} ms; it plays late"
            );
            (text, "cannot_keep_up")
        } else {
            (format!("{name} keeps up again"), "keeps_up")
        };
        display.event(&text, kind, json!({ "name": name, "needs_ms": needs, "most_ms": most }));
    }
}

/// Tells of each client whose encryption does not go with this sender's, or does again.
fn tell_secrecy(book: &Book, told: &mut Told<Secrecy>, display: &mut Display) {
    for (active, secrecy) in told.news(book, |active| active.counters.secrecy()) {
        let name = &active.client.name;
        let details = json!({ "name": name, "secrecy": secrecy.name() });
        display.event(&format!("{name}: {}", secrecy.describe()), "secrecy", details);
    }
}

fn heed(news: &News<()>, source: &Source, display: &mut Display) {
    let name = &source.description;
    match news {
        News::Opened { .. } => {}
        News::Lost(reason) => {
            let text = format!("{name} is gone: {reason}; it is tried until it is back");
            display.event(&text, "device_lost", json!({ "name": name, "reason": reason.name() }));
        }
        News::Back => display.event(&format!("{name} is back"), "device_back", json!({ "name": name })),
        News::Refused(error) => display.warn(&format!("there is no sound until this changes: {error}")),
    }
}

fn introduce(source: &Source, book: &Book, display: &mut Display) {
    let text = format!("capturing {}: {} channels, {} Hz", source.description, source.channels, source.rate);
    display.event(
        &text,
        "source",
        json!({ "name": source.description, "rate": source.rate, "channels": source.channels }),
    );
    for active in book.active() {
        let spec = &active.spec;
        let format = spec.format(source.rate);
        let span = f64::from(format.frames) * 1e3 / f64::from(format.rate);
        let text = format!(
            "  {} -> {}{} {} {} as {} {}, {} frames a packet ({span:.1} ms)",
            active.client.name,
            active.address,
            active.second.map_or(String::new(), |second| format!(" and {second}")),
            if active.client.test.is_some() { "test signal" } else { "channels" },
            active.sound(),
            spec.wire.name(),
            spec.codec().name(),
            format.frames,
        );
        let details = json!({ "name": active.client.name, "address": active.address.to_string(),
            "channels": spec.map.to_string(),
            "test": active.client.test, "wire": spec.wire.name(), "codec": spec.codec().name(), "frames": format.frames });
        display.event(&text, "client", details);
    }
}

fn conclude(source: &Source, book: &Book, sender: &Sender, display: &mut Display) {
    let seconds = sender.counters.frames.get() as f64 / f64::from(source.rate);
    let text = format!(
        "sent {seconds:.1} s to {} clients in {} datagrams",
        book.active().len(),
        sender.counters.datagrams.get()
    );
    display.event(&text, "summary", status::value("summary", source, sender, book));
}

/// The list of clients: the command line's, and a file that may change.
struct List {
    path: Option<PathBuf>,
    save: Option<PathBuf>,
    sdp: Option<PathBuf>,
    announcer: Option<Announcer>,
    fixed: Vec<Client>,
    listed: Vec<Client>,
    /// Time and length of the file when it was read last.
    seen: Option<(SystemTime, u64)>,
    /// Since when it has changed and cannot be read.
    unread: Option<Instant>,
}

impl List {
    fn load(&mut self) -> Result<Vec<Client>, String> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        self.seen = self.fingerprint();
        control::list::load(path).map_err(|error| error.to_string())
    }

    fn fingerprint(&self) -> Option<(SystemTime, u64)> {
        let metadata = std::fs::metadata(self.path.as_ref()?).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    /// Whether the file has changed since it was read. A file that is gone is not a change: editors replace files.
    fn changed(&self) -> bool {
        self.unread.is_some() || self.fingerprint().is_some_and(|now| self.seen != Some(now))
    }

    /// Reads the file again. A list that cannot be read changes nothing; one that nobody `asked` for may not be complete yet.
    fn reload(&mut self, asked: bool, book: &mut Book, display: &mut Display) -> Option<Box<Routing>> {
        match self.load() {
            Ok(listed) => self.listed = listed,
            Err(_) if !asked && self.unread.get_or_insert_with(Instant::now).elapsed() < WRITING => {
                return None;
            }
            Err(error) => {
                self.unread = None;
                display.warn(&format!("the list stays as it was: {error}"));
                return None;
            }
        }
        self.unread = None;
        let routing = self.enter(book, display);
        let text = format!("the list was read again: {} clients", book.active().len());
        display.event(&text, "reloaded", json!({ "clients": book.active().len() }));
        Some(routing)
    }

    fn enter(&mut self, book: &mut Book, display: &mut Display) -> Box<Routing> {
        let all = plan::merged(&self.fixed, &self.listed);
        let (routing, problems) = book.update(&all);
        problems.iter().for_each(|problem| display.warn(problem));
        if let Some(path) = &self.save
            && let Err(error) = control::list::save(path, &all)
        {
            display.warn(&format!("--save: {error}"));
        }
        if let Some(folder) = &self.sdp
            && let Err(error) = sdp::write(folder, book)
        {
            display.warn(&error);
        }
        if let Some(announcer) = &mut self.announcer {
            announcer.update(book, sdp::version());
        }
        if self.save == self.path {
            // What was written just now is no change to be read.
            self.seen = self.fingerprint();
        }
        routing
    }
}
