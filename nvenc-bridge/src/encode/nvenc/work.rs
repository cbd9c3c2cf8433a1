//! A session at work: its buffers, and which of them hold what.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::abi;
use super::caps::{self, Caps};
use super::config::{self, Plan, Preset};
use super::fault::Fault;
use super::library::Driver;
use super::session::{Session, Slot};
use crate::cuda::Card;
use crate::encode::{Codec, Settings, Warning};
use crate::picture::{Format, Size};

/// How long a busy card is waited for. Longer, and whoever watches would rather have another encoder.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1);
/// A driver keeps 32 pictures back at most; to these come the spare ones.
pub(super) const SLOTS: usize = 64;

/// A session and what is in it.
pub(super) struct Work {
    pub(super) session: Session,
    pub(super) caps: Caps,
    preset: Tuned,
    pub(super) plan: Plan,
    /// In which pictures go in.
    pub(super) format: Format,
    pub(super) largest: Size,
    /// Longest free first.
    pub(super) free: VecDeque<Slot>,
    pub(super) pending: VecDeque<Slot>,
    /// Of those pending, how many may be read.
    pub(super) covered: usize,
    pub(super) slots: usize,
    /// No picture came since the start, or since the end was said.
    pub(super) idle: bool,
}

/// A preset as the driver took it.
pub(super) struct Tuned {
    preset: Preset,
    tuning: u32,
    base: abi::Config,
    /// Pictures have more bits than the card codes.
    narrowed: bool,
}

impl Work {
    /// Opens a session and configures it. Where the card does not take the best tuning, which some do only with this or that
    /// setting, the next best is tried.
    pub(super) fn open(
        driver: &Arc<Driver>,
        card: &Card,
        settings: &Settings,
        format: Format,
    ) -> Result<Self, String> {
        let preset = config::preset(settings);
        let first = Self::open_tuned(driver, card, settings, format, (preset, preset.tuning));
        match (first, preset.otherwise) {
            (Err(_), Some(tuning)) => Self::open_tuned(driver, card, settings, format, (preset, tuning)),
            (opened, _) => opened,
        }
    }

    fn open_tuned(
        driver: &Arc<Driver>,
        card: &Card,
        settings: &Settings,
        format: Format,
        (preset, tuning): (Preset, u32),
    ) -> Result<Self, String> {
        let line = |fault: Fault| fault.line;
        let mut session = Session::open(driver, card).map_err(line)?;
        let codec = settings.codec;
        if !caps::codecs(&session).map_err(line)?.contains(&codec) {
            return Err(format!(
                "NVENC has no {codec:?} on this card: see `nvenc-bridge caps`, or use a software encoder"
            ));
        }
        let caps = Caps::of(&session, codec).map_err(line)?;
        check_size(settings, &caps)?;
        let wanted = format;
        let format = match wanted {
            Format::P010 if caps.ten_bit && codec != Codec::H264 => Format::P010,
            Format::I420 => Format::I420,
            Format::Nv12 | Format::P010 | Format::Rgba | Format::Bgra => Format::Nv12,
        };
        let base = session.preset(caps::guid(codec), preset.preset, tuning).map_err(line)?;
        let narrowed = wanted == Format::P010 && format != wanted;
        let preset = Tuned { preset, tuning, base, narrowed };
        let plan = preset.plan(settings, &caps, format);
        session.initialize(&plan.initialize, &plan.config).map_err(line)?;
        let mut work = Self {
            session,
            caps,
            preset,
            format,
            largest: settings.size,
            free: VecDeque::new(),
            pending: VecDeque::new(),
            covered: 0,
            slots: 0,
            idle: true,
            plan,
        };
        work.add_slots(settings.size).map_err(line)?;
        Ok(work)
    }

    /// As many as pictures are kept back, and one to write. B-pictures come out of slots other than their own, so that one
    /// whose bits were read may still hold a picture that is not coded yet: as many are spare. More are made should the driver
    /// keep more.
    fn add_slots(&mut self, size: Size) -> Result<(), Fault> {
        let wanted = self.plan.kept + 1 + self.plan.b_frames;
        for _ in 0..wanted {
            self.free.push_back(self.session.add_slot(size.width, size.height, native(self.format))?);
        }
        self.slots = wanted;
        Ok(())
    }

    pub(super) fn reconfigure(&mut self, settings: &Settings, reset: bool) -> Result<(), Fault> {
        let mut plan = self.preset.plan(settings, &self.caps, self.format);
        (plan.initialize.max_width, plan.initialize.max_height) = (self.largest.width, self.largest.height);
        self.session.reconfigure(&plan.initialize, &plan.config, reset)?;
        self.plan = plan;
        Ok(())
    }

    /// With nothing pending.
    pub(super) fn resize(&mut self, settings: &Settings) -> Result<(), Fault> {
        self.reconfigure(settings, true)?;
        self.free.clear();
        self.session.clear_slots();
        self.add_slots(settings.size)
    }
}

impl Tuned {
    fn plan(&self, settings: &Settings, caps: &Caps, format: Format) -> Plan {
        let ten_bit = format == Format::P010;
        let mut plan = config::plan(settings, caps, ten_bit, &self.preset, self.tuning, self.base.clone());
        if self.narrowed {
            let message =
                format!("NVENC has no {:?} of 10 bits on this card: pictures are coded in 8", settings.codec);
            plan.warnings.push(Warning { parameter: "format", message });
        }
        plan
    }
}

pub(super) fn native(format: Format) -> u32 {
    match format {
        Format::I420 => abi::format::IYUV,
        Format::P010 => abi::format::YUV420_10BIT,
        Format::Nv12 | Format::Rgba | Format::Bgra => abi::format::NV12,
    }
}

pub(super) fn check_size(settings: &Settings, caps: &Caps) -> Result<(), String> {
    let Size { width, height } = settings.size;
    let fits = (caps.min_width..=caps.max_width).contains(&width)
        && (caps.min_height..=caps.max_height).contains(&height);
    if fits {
        return Ok(());
    }
    Err(format!(
        "NVENC on this card codes {:?} from {} × {} to {} × {}, not {width} × {height}: choose another size or codec",
        settings.codec, caps.min_width, caps.min_height, caps.max_width, caps.max_height
    ))
}

/// Repeats a call while the card is busy.
pub(super) fn patiently<T>(mut call: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    let begun = Instant::now();
    loop {
        match call() {
            Err(fault) if fault.passes() && begun.elapsed() < PATIENCE => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}
