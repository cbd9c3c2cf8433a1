//! A thread that keeps a device's stream going: it opens the stream, watches it, and builds it anew when it fails.
//!
//! Opening and closing wait for the audio system, and a sound server that hangs has them wait for as long as it does.
//! They happen on this thread alone, one after the other: most devices have to be closed before they can be opened again,
//! and so has JACK's library, whose state belongs to the server that it first met. A JACK client that was left open would
//! take the signals of the next one of its name.

use std::any::Any;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use os::clock;
use os::wait::Waker;
use proto::units::Mono;

use crate::error::Error;
use crate::virtual_card::{FILE_PATIENCE, Running, join};
pub use crate::watch::Reason;
use crate::watch::{Signs, Verdict, Watch};

/// Time between two looks at a stream.
const LOOK: Duration = Duration::from_millis(100);
/// The same where all has been well for a while.
const CALM_LOOK: Duration = Duration::from_millis(250);
/// Where there is nothing to look at.
const NOTHING: Duration = Duration::from_secs(3600);
/// How long a device may take to close when the program ends.
const CARD_PATIENCE: Duration = Duration::from_secs(2);
/// News that nobody has read yet.
const NEWS: usize = 16;

/// Keeps a capture or a playback alive; dropping it stops it, and a file is completed.
#[must_use]
pub struct Stream {
    /// A sound card's, and its period in nanoseconds; files and virtual cards never need to be built anew.
    signs: Option<(Arc<Signs>, i64)>,
    _running: Box<dyn Any + Send>,
}

impl Stream {
    pub(crate) fn card(running: impl Send + 'static, signs: Arc<Signs>, period: i64) -> Self {
        Self { signs: Some((signs, period)), _running: Box::new(running) }
    }

    pub(crate) fn thread(running: Running) -> Self {
        Self { signs: None, _running: Box::new(running) }
    }
}

/// A stream that was started.
pub struct Started<F> {
    /// The stream.
    pub stream: Stream,
    /// The other end of its rings.
    pub feed: F,
    /// For people.
    pub description: String,
}

/// Opens a stream with rings of its own.
pub type Open<F> = Box<dyn FnMut() -> Result<Started<F>, Error> + Send>;

/// What a keeper has to tell.
#[derive(Debug)]
pub enum News<F> {
    /// A stream runs, and its rings are to be used from now on.
    Opened {
        /// The other end of its rings.
        feed: F,
        /// For people.
        description: String,
        /// It takes the place of one that failed.
        rebuilt: bool,
    },
    /// The device has failed. It is tried again until it is there.
    Lost(Reason),
    /// A device that was lost brings or takes sound again.
    Back,
    /// It could not be opened: told the first time, and once for each kind of reason while a device that is there will not
    /// do what is asked. A device is tried again.
    Refused(Error),
}

impl<F> News<F> {
    /// Takes the feed out.
    pub fn split(self) -> (News<()>, Option<F>) {
        match self {
            Self::Opened { feed, description, rebuilt } => {
                (News::Opened { feed: (), description, rebuilt }, Some(feed))
            }
            Self::Lost(reason) => (News::Lost(reason), None),
            Self::Back => (News::Back, None),
            Self::Refused(error) => (News::Refused(error), None),
        }
    }
}

/// What the news so far say of a device.
#[derive(Debug, Default)]
pub struct Presence {
    /// Times that its stream was built anew.
    pub rebuilt: u64,
    /// It is gone.
    pub lost: bool,
}

impl Presence {
    /// Takes note of a piece of news.
    pub fn note<F>(&mut self, news: &News<F>) {
        match news {
            News::Opened { rebuilt, .. } => self.rebuilt += u64::from(*rebuilt),
            News::Lost(_) => self.lost = true,
            News::Back => self.lost = false,
            News::Refused(_) => {}
        }
    }
}

struct Order<F> {
    open: Open<F>,
    /// It is a device, which may come back.
    lasting: bool,
}

/// The thread and the ways to it and back. Dropping it closes the stream; a device that hangs is left behind.
pub struct Keeper<F> {
    /// `None` once dropped.
    orders: Option<Sender<Order<F>>>,
    news: Option<Receiver<News<F>>>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
}

impl<F: Send + 'static> Keeper<F> {
    /// Starts the thread, which wakes whoever reads its news.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(reader: Waker) -> Result<Self, Error> {
        let (orders, orders_out) = channel();
        let (news_in, news) = sync_channel(NEWS);
        let body = move || keep(&orders_out, &Teller { news: news_in, reader });
        let thread = Some(std::thread::Builder::new().name("device".into()).spawn(body)?);
        Ok(Self { orders: Some(orders), news: Some(news), thread, patience: CARD_PATIENCE })
    }

    /// Closes what is open and opens this instead, again and again if it is a device. The newest order counts.
    pub fn order(&mut self, open: Open<F>, device: bool) {
        self.patience = if device { CARD_PATIENCE } else { FILE_PATIENCE + CARD_PATIENCE };
        if let Some(orders) = &self.orders {
            // The thread lives as long as this does.
            let _ = orders.send(Order { open, lasting: device });
        }
    }

    /// The next piece of news, if there is one.
    pub fn poll(&self) -> Option<News<F>> {
        self.news.as_ref()?.try_recv().ok()
    }

    /// The next piece of news, waited for; `None` if the thread has panicked.
    pub fn wait(&self) -> Option<News<F>> {
        self.news.as_ref()?.recv().ok()
    }
}

impl<F> Drop for Keeper<F> {
    fn drop(&mut self) {
        self.orders = None;
        self.news = None;
        if let Some(thread) = self.thread.take() {
            join(thread, self.patience);
        }
    }
}

/// The thread.
fn keep<F>(orders: &Receiver<Order<F>>, teller: &Teller<F>) {
    crate::system::silence_alsa();
    let mut lost = false;
    let mut next = orders.recv().ok();
    while let Some(order) = next {
        let order = orders.try_iter().last().unwrap_or(order);
        let mut work = Work::new(order, teller, lost);
        next = loop {
            match orders.recv_timeout(work.step()) {
                Ok(newer) => break Some(newer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        lost = work.lost;
    }
}

/// The way of the news.
struct Teller<F> {
    news: SyncSender<News<F>>,
    reader: Waker,
}

impl<F> Teller<F> {
    fn tell(&self, news: News<F>) {
        // Where nobody listens any more, the orders end as well.
        let _ = self.news.send(news);
        self.reader.wake();
    }
}

/// One order, as long as it is the newest.
struct Work<'a, F> {
    order: Order<F>,
    teller: &'a Teller<F>,
    watch: Watch,
    stream: Option<Stream>,
    /// Without a stream: when to try next, `None` for never.
    next: Option<Mono>,
    /// The device is gone, and has not been heard again.
    lost: bool,
    opened: bool,
    /// Reasons that were told.
    told: Vec<Discriminant<Error>>,
}

impl<'a, F> Work<'a, F> {
    fn new(order: Order<F>, teller: &'a Teller<F>, lost: bool) -> Self {
        let watch = Watch::default();
        Self {
            order,
            teller,
            watch,
            stream: None,
            next: Some(Mono(0)),
            lost,
            opened: false,
            told: Vec::new(),
        }
    }

    /// Does what is due, and says when it wants to be called again.
    fn step(&mut self) -> Duration {
        let now = clock::now();
        match (&self.stream, self.next) {
            (Some(stream), _) => {
                let Some((signs, _)) = &stream.signs else { return NOTHING };
                let verdict = self.watch.look(now, signs.seen());
                self.judge(verdict)
            }
            (None, Some(next)) if next <= now => self.attempt(),
            (None, Some(next)) => next.left_from(now),
            (None, None) => NOTHING,
        }
    }

    fn judge(&mut self, verdict: Verdict) -> Duration {
        match verdict {
            Verdict::Keep => {}
            Verdict::Flows => {
                if std::mem::take(&mut self.lost) {
                    self.teller.tell(News::Back);
                }
            }
            Verdict::Rebuild(reason) => {
                // Before it is closed, which may take long.
                if !std::mem::replace(&mut self.lost, true) {
                    self.told.clear();
                    self.teller.tell(News::Lost(reason));
                }
                self.stream = None;
                return self.wait();
            }
        }
        if self.watch.is_calm() { CALM_LOOK } else { LOOK }
    }

    fn attempt(&mut self) -> Duration {
        match (self.order.open)() {
            Ok(Started { stream, feed, description }) => {
                os::memory::release();
                if let Some((_, period)) = &stream.signs {
                    self.watch.opened(clock::now(), *period);
                }
                self.stream = Some(stream);
                let rebuilt = std::mem::replace(&mut self.opened, true);
                self.teller.tell(News::Opened { feed, description, rebuilt });
                LOOK
            }
            Err(error) => {
                let kind = discriminant(&error);
                // That a lost device is absent has been told.
                if !(self.lost && error.is_absence() || self.told.contains(&kind)) {
                    self.told.push(kind);
                    self.teller.tell(News::Refused(error));
                }
                self.wait()
            }
        }
    }

    fn wait(&mut self) -> Duration {
        let now = clock::now();
        self.next = self.order.lasting.then(|| self.watch.next_attempt(now));
        self.next.map_or(NOTHING, |next| next.left_from(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A device that a test pulls out.
    #[derive(Clone, Default)]
    struct Device(Arc<Mutex<Socket>>);

    #[derive(Default)]
    struct Socket {
        signs: Option<Arc<Signs>>,
        open: u32,
    }

    /// What an open stream holds.
    struct Handle(Device);

    impl Drop for Handle {
        fn drop(&mut self) {
            self.0.0.lock().unwrap().open -= 1;
        }
    }

    type Attempt = Option<fn() -> Error>;
    const PRESENT: Attempt = None;
    const ABSENT: Attempt = Some(|| Error::Unavailable { device: "fake".into(), direction: "playback" });
    const OTHER_RATE: Attempt = Some(|| Error::UnsupportedFormat {
        device: "fake".into(),
        rate: 44_100,
        channels: 2,
        offered: "48000 Hz".into(),
    });

    impl Device {
        /// Opens as the attempts say, one after the other; what the last says is said for ever.
        fn opener(&self, feed: u32, attempts: &'static [Attempt]) -> Open<u32> {
            let device = self.clone();
            let mut attempts =
                attempts.iter().copied().chain(std::iter::repeat(attempts[attempts.len() - 1]));
            Box::new(move || match attempts.next().flatten() {
                Some(refusal) => Err(refusal()),
                None => Ok(device.open(feed)),
            })
        }

        fn open(&self, feed: u32) -> Started<u32> {
            let mut socket = self.0.lock().unwrap();
            assert_eq!(socket.open, 0, "the one before is closed first");
            socket.open = 1;
            let signs = Arc::new(Signs::default());
            signs.note_callback();
            socket.signs = Some(signs.clone());
            Started { stream: Stream::card(Handle(self.clone()), signs, 0), feed, description: "fake".into() }
        }

        fn pull_out(&self) {
            self.0.lock().unwrap().signs.as_ref().expect("it was open").note_gone();
        }
    }

    fn words(news: &News<u32>) -> String {
        match news {
            News::Opened { feed, rebuilt, .. } => format!("opened {feed}, rebuilt {rebuilt}"),
            News::Lost(reason) => format!("lost: {}", reason.name()),
            News::Back => "back".into(),
            News::Refused(error) => format!("refused, absent {}", error.is_absence()),
        }
    }

    fn started() -> Keeper<u32> {
        Keeper::start(os::wait::pair().unwrap().0).unwrap()
    }

    fn expect(keeper: &Keeper<u32>, expected: &[&str]) {
        let heard: Vec<_> =
            expected.iter().map(|_| words(&keeper.wait().expect("the thread lives"))).collect();
        assert_eq!(heard, expected);
    }

    #[test]
    fn a_device_comes_back_as_often_as_it_goes() {
        let device = Device::default();
        let mut keeper = started();
        keeper.order(device.opener(7, &[PRESENT]), true);
        expect(&keeper, &["opened 7, rebuilt false"]);
        for _ in 0..3 {
            device.pull_out();
            expect(&keeper, &["lost: gone", "opened 7, rebuilt true", "back"]);
        }
        drop(keeper);
        assert_eq!(device.0.lock().unwrap().open, 0);
    }

    #[test]
    fn a_refusal_is_told_once_and_absence_not_again() {
        let device = Device::default();
        let mut keeper = started();
        let attempts = &[PRESENT, ABSENT, OTHER_RATE, OTHER_RATE, PRESENT, OTHER_RATE, PRESENT];
        keeper.order(device.opener(7, attempts), true);
        expect(&keeper, &["opened 7, rebuilt false"]);
        for _ in 0..2 {
            device.pull_out();
            expect(&keeper, &["lost: gone", "refused, absent false", "opened 7, rebuilt true", "back"]);
        }
    }

    #[test]
    fn the_newest_order_wins_while_the_device_is_gone() {
        let device = Device::default();
        let mut keeper = started();
        keeper.order(device.opener(1, &[PRESENT, ABSENT]), true);
        expect(&keeper, &["opened 1, rebuilt false"]);
        device.pull_out();
        expect(&keeper, &["lost: gone"]);
        keeper.order(device.opener(2, &[ABSENT]), true);
        keeper.order(device.opener(3, &[PRESENT]), true);
        expect(&keeper, &["opened 3, rebuilt false", "back"]);
    }

    #[test]
    fn what_is_no_device_is_tried_once() {
        let device = Device::default();
        let mut keeper = started();
        keeper.order(device.opener(1, &[ABSENT, PRESENT]), false);
        expect(&keeper, &["refused, absent true"]);
        keeper.order(device.opener(2, &[PRESENT]), false);
        expect(&keeper, &["opened 2, rebuilt false"]);
    }
}
