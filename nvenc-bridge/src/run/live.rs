//! A stream as the control thread has it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::clients::Clients;
use super::life::{Life, News};
use crate::encode::Settings;
use crate::encoding::Control;
use crate::info::Info;
use crate::params::Params;
use crate::params::rules::Origin;
use crate::plan;
use crate::serve::Server;

/// News that the control thread has not seen yet; what comes beyond is left out.
const NEWS: usize = 64;
/// Parameters that the encoder may refuse to change.
pub(super) const ENCODED: [&str; 3] = ["fps", "avgbitrate", "maxbitrate"];

/// What the control thread asks of a stream's thread, and what it has to know for that.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub control: Control,
    origin: Mutex<Option<Origin>>,
}

impl Orders {
    /// Pictures are such.
    pub(super) fn set_origin(&self, origin: Origin) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin);
    }

    /// What pictures are like, once that is known.
    pub(super) fn origin(&self) -> Option<Origin> {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not been served yet.
    Waiting,
    /// It is or was served, and may be again.
    Running,
    /// It is over.
    Ended,
}

pub(super) struct Live {
    /// Its parameters are those that hold now, or that were asked for and have not been refused.
    pub plan: plan::Stream,
    pub info: Arc<Info>,
    pub orders: Arc<Orders>,
    pub state: State,
    pub clients: Clients,
    news: Receiver<News>,
    /// Changes that the encoder has not answered, and the parameters as they were before each.
    asked: Vec<(Settings, Params)>,
    /// Warnings that were told: each is told once.
    warned: BTreeSet<String>,
}

impl Live {
    /// Starts its thread.
    ///
    /// # Errors
    /// One line, where the system has no threads left.
    pub(super) fn start(plan: plan::Stream, server: Arc<Server>) -> Result<Self, String> {
        let (live, tell) = Self::new(plan);
        let life = Life::new(live.plan.clone(), server, live.info.clone(), live.orders.clone(), tell);
        // It is not waited for: what it reads or calls may hold it.
        let thread = std::thread::Builder::new().name("stream".into()).spawn(move || life.run());
        thread.map_err(|error| format!("no thread for `{}`: {error}", live.plan.name))?;
        Ok(live)
    }

    /// A stream without its thread, whose news go in at the other end.
    fn new(plan: plan::Stream) -> (Self, SyncSender<News>) {
        let (info, orders) = (Arc::new(Info::default()), Arc::new(Orders::default()));
        info.active.store(plan.active, Ordering::Release);
        orders.control.pause(!plan.active);
        let (tell, news) = sync_channel(NEWS);
        let live = Self {
            plan,
            info,
            orders,
            state: State::Waiting,
            clients: Clients::default(),
            news,
            asked: Vec::new(),
            warned: BTreeSet::new(),
        };
        (live, tell)
    }

    /// Asks the encoder for other settings, and keeps the parameters as they are until it has answered.
    pub(super) fn ask(&mut self, settings: Settings) {
        let before = match self.orders.control.change(settings.clone()) {
            // What it never heard of, it does not answer.
            true => self.asked.pop().map(|(_, before)| before),
            false => None,
        };
        self.asked.push((settings, before.unwrap_or_else(|| self.plan.params.clone())));
    }

    /// The parameters as they were before these settings were asked for; what was asked earlier is answered with them.
    fn answered(&mut self, settings: &Settings) -> Option<Params> {
        // The size is that of the pictures, whatever is asked.
        let same =
            |(asked, _): &(Settings, Params)| Settings { size: settings.size, ..asked.clone() } == *settings;
        let place = self.asked.iter().position(same)?;
        self.asked.drain(..=place).next().map(|(_, before)| before)
    }

    /// Takes back what the encoder, or whoever else was needed, has refused.
    fn take_back(&mut self, asked: Option<&Settings>) {
        let Some(settings) = asked else {
            let active = self.info.active.load(Ordering::Acquire);
            // A toggle takes either.
            let _ = self.plan.params.set("active", &active.into());
            return;
        };
        let Some(before) = self.answered(settings) else { return };
        match self.asked.first_mut() {
            // It was asked with what has been refused; if that is refused too, nothing of both remains.
            Some((_, its)) => *its = before,
            None => self.plan.params.adopt(&before, &ENCODED),
        }
    }

    /// Hands its news to `tell`, with its name.
    pub(super) fn heed(&mut self, mut tell: impl FnMut(&str, News)) {
        while self.state != State::Ended {
            let news = match self.news.try_recv() {
                Ok(news) => news,
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => News::Ended(Err("its thread has panicked".into())),
            };
            match &news {
                News::Serving { .. } | News::Rests => self.state = State::Running,
                News::Ended(_) => self.state = State::Ended,
                News::Warned(text) if !self.warned.insert(text.clone()) => continue,
                News::Changed(settings) => drop(self.answered(settings)),
                News::Refused { asked, .. } => self.take_back(asked.as_ref()),
                _ => {}
            }
            tell(&self.plan.name, news);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use crate::picture::Size;
    use crate::plan::Plan;

    /// Asked for a bitrate, as the encoder hears it.
    fn ask(live: &mut Live, bitrate: f64) -> Settings {
        let mut plan = live.plan.clone();
        plan.params.set("avgbitrate", &bitrate.into()).unwrap();
        let settings = plan.foreseen().unwrap().unwrap();
        live.ask(settings.clone());
        live.plan = plan;
        settings
    }

    #[test]
    fn what_the_encoder_refuses_is_not_said_to_hold() {
        let stream = Plan::new(&args::Settings::default()).unwrap().streams.remove(0);
        let (mut live, tell) = Live::new(stream);
        let take = |live: &Live| live.orders.control.take_change().unwrap();
        let hears = |live: &mut Live, news: News| {
            tell.send(news).unwrap();
            live.heed(|_, _| ());
            live.plan.params.number("avgbitrate")
        };
        let refused = |asked: Settings| News::Refused { asked: Some(asked), reason: "no".into() };
        // Whatever the size of the pictures has become meanwhile.
        let size = Size { width: 64, height: 64 };
        let first = ask(&mut live, 2.0);
        assert_eq!(take(&live), first);
        assert_eq!(hears(&mut live, News::Changed(Settings { size, ..first })), Some(2.0));
        let second = ask(&mut live, 3.0);
        assert_eq!(take(&live), second);
        assert_eq!(hears(&mut live, refused(Settings { size, ..second })), Some(2.0));
        // One that another stands in for before the encoder hears of it, and one that is asked before an answer is there.
        ask(&mut live, 4.0);
        let third = ask(&mut live, 5.0);
        assert_eq!(take(&live), third);
        let fourth = ask(&mut live, 6.0);
        assert_eq!(take(&live), fourth);
        live.plan.params.set("fps", &25.into()).unwrap();
        live.plan.params.set("active", &false.into()).unwrap();
        assert_eq!(hears(&mut live, refused(third)), Some(6.0));
        assert_eq!(hears(&mut live, refused(fourth)), Some(2.0));
        assert!(!live.plan.params.is_given("fps") && !live.plan.params.is_on("active"));
        assert!(live.asked.is_empty());
        // At first, nothing was said of it.
        live.plan.params.clear("avgbitrate");
        let fifth = ask(&mut live, 7.0);
        let default = Params::default().number("avgbitrate");
        assert_eq!(hears(&mut live, refused(fifth)), default);
        assert!(!live.plan.params.is_given("avgbitrate"));
    }

    #[test]
    fn a_stream_that_cannot_be_served_again_is_not_said_to_be_active() {
        let stream = Plan::new(&args::Settings::default()).unwrap().streams.remove(0);
        let (mut live, tell) = Live::new(stream);
        live.info.active.store(false, Ordering::Release);
        live.plan.params.set("active", &true.into()).unwrap();
        tell.send(News::Refused { asked: None, reason: "its port is taken".into() }).unwrap();
        live.heed(|_, _| ());
        assert!(!live.plan.params.is_on("active"));
    }
}
