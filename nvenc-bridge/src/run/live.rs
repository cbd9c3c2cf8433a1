//! A stream as the control thread has it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::clients::Clients;
use super::life::{Life, News};
use crate::encoding::Control;
use crate::info::Info;
use crate::params::rules::Origin;
use crate::plan;
use crate::serve::Server;

/// News that the control thread has not seen yet; what comes beyond is left out.
const NEWS: usize = 64;

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
    /// Its parameters are those that hold now.
    pub plan: plan::Stream,
    pub info: Arc<Info>,
    pub orders: Arc<Orders>,
    pub state: State,
    pub clients: Clients,
    news: Receiver<News>,
    /// Warnings that were told: each is told once.
    warned: BTreeSet<String>,
}

impl Live {
    /// Starts its thread.
    ///
    /// # Errors
    /// One line, where the system has no threads left.
    pub(super) fn start(plan: plan::Stream, server: Arc<Server>) -> Result<Self, String> {
        let (info, orders) = (Arc::new(Info::default()), Arc::new(Orders::default()));
        info.active.store(plan.active, Ordering::Release);
        orders.control.pause(!plan.active);
        let (tell, news) = sync_channel(NEWS);
        let life = Life::new(plan.clone(), server, info.clone(), orders.clone(), tell);
        // It is not waited for: what it reads or calls may hold it.
        let thread = std::thread::Builder::new().name("stream".into()).spawn(move || life.run());
        thread.map_err(|error| format!("no thread for `{}`: {error}", plan.name))?;
        let clients = Clients::default();
        Ok(Self { plan, info, orders, state: State::Waiting, clients, news, warned: BTreeSet::new() })
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
                _ => {}
            }
            tell(&self.plan.name, news);
        }
    }
}
