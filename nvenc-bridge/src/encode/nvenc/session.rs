//! One session of the encoder: calls in the order that the driver wants, each in the card's context, all given back at the end.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use super::abi::{
    self, API, Caps, Config, CreateInput, CreateOutput, Functions, Guid, Initialize, LockInput, LockOutput,
    OpenSession, Picture, Plain, PresetConfig, Reconfigure, status,
};
use super::fault::Fault;
use super::library::Driver;
use crate::cuda::{Card, Context};

type Handle = NonNull<c_void>;

/// An open session, at first without a configuration.
pub struct Session {
    driver: Arc<Driver>,
    context: Context,
    handle: Handle,
    buffers: Vec<Buffer>,
}

// SAFETY: NVENC binds a session to no thread; its calls are made by one thread at a time, since they take `&mut self` or are
// made by the only owner.
unsafe impl Send for Session {}

/// Where a picture goes in, and where its bits come out.
struct Buffer {
    input: Handle,
    output: Handle,
}

/// One of a session's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// What a picture is handed in with.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Of the picture.
    pub width: u32,
    /// Of the picture.
    pub height: u32,
    /// Octets from one row to the next in the input's buffer.
    pub pitch: u32,
    /// [`abi::format`].
    pub format: u32,
    /// Bits of [`abi::flag`].
    pub flags: u32,
    /// Comes back with the bits.
    pub timestamp: u64,
}

/// What came out of a buffer.
pub struct Bits {
    /// As the encoder wrote them.
    pub data: Vec<u8>,
    /// [`Frame::timestamp`] of the picture that these are.
    pub timestamp: u64,
    /// Whether it is an IDR, or a key frame of AV1.
    pub key: bool,
}

/// What became of a picture that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All buffers handed in so far may be read, in that order.
    Done,
    /// It is kept back until later pictures have come.
    Kept,
}

fn present<T>(function: Option<T>) -> Result<T, Fault> {
    function.ok_or_else(|| Fault::new("function absent from the driver's list", status::UNIMPLEMENTED, None))
}

impl Session {
    /// Opens a session on a card.
    ///
    /// # Errors
    /// Where the card has no engine, or no session is left.
    pub fn open(driver: &Arc<Driver>, card: &Card) -> Result<Self, Fault> {
        let context = Context::new(&driver.cuda, card).map_err(Fault::cuda)?;
        let mut arguments = OpenSession::zeroed();
        arguments.version = OpenSession::VERSION;
        arguments.device_type = abi::DEVICE_CUDA;
        arguments.device = context.handle();
        arguments.api = API;
        let mut handle = ptr::null_mut();
        let current = context.enter().map_err(Fault::cuda)?;
        let open = present(driver.functions.open)?;
        // SAFETY: reads the arguments, writes the handle.
        let status = unsafe { open(&raw mut arguments, &raw mut handle) };
        let opened = NonNull::new(handle).ok_or(status::GENERIC);
        let outcome = match (status, opened) {
            (status::SUCCESS, Ok(handle)) => Ok(handle),
            (status::SUCCESS, Err(status)) => Err(status),
            (status, Ok(handle)) => {
                // The driver makes a session even where it refuses it, and wants it destroyed.
                if let Some(destroy) = driver.functions.destroy {
                    // SAFETY: nothing else has the handle.
                    unsafe { destroy(handle.as_ptr()) };
                }
                Err(status)
            }
            (status, Err(_)) => Err(status),
        };
        drop(current);
        let handle = outcome.map_err(|status| Fault::new("session", status, None))?;
        Ok(Self { driver: driver.clone(), context, handle, buffers: Vec::new() })
    }

    /// Codecs that the card encodes.
    ///
    /// # Errors
    /// As the driver says.
    pub fn codecs(&self) -> Result<Vec<Guid>, Fault> {
        let mut count = 0;
        let ask = present(self.functions().codec_count)?;
        self.call("number of codecs", |encoder| {
            // SAFETY: writes a number.
            unsafe { ask(encoder, &raw mut count) }
        })?;
        // More than a driver ever had, should it answer nonsense.
        let mut codecs = vec![abi::codec::H264; count.min(64) as usize];
        let room = codecs.len() as u32;
        let ask = present(self.functions().codecs)?;
        self.call("codecs", |encoder| {
            // SAFETY: writes at most `room` names and how many they are.
            unsafe { ask(encoder, codecs.as_mut_ptr(), room, &raw mut count) }
        })?;
        codecs.truncate(count as usize);
        Ok(codecs)
    }

    /// What the card can do of one codec; see [`abi::cap`]. What the driver does not know is 0.
    ///
    /// # Errors
    /// As the driver says.
    pub fn capability(&self, codec: Guid, query: u32) -> Result<u32, Fault> {
        let mut arguments = Caps::zeroed();
        arguments.version = Caps::VERSION;
        arguments.query = query;
        let mut value = 0;
        let ask = present(self.functions().caps)?;
        let asked = self.call("capability", |encoder| {
            // SAFETY: reads the arguments, writes a number.
            unsafe { ask(encoder, codec, &raw mut arguments, &raw mut value) }
        });
        match asked {
            Ok(()) => Ok(u32::try_from(value).unwrap_or(0)),
            Err(fault) if matches!(fault.status, status::INVALID_PARAM | status::UNSUPPORTED_PARAM) => Ok(0),
            Err(fault) => Err(fault),
        }
    }

    /// The driver's configuration of a preset.
    ///
    /// # Errors
    /// Where the card does not take the tuning for this codec, or as the driver says.
    pub fn preset(&self, codec: Guid, preset: Guid, tuning: u32) -> Result<Config, Fault> {
        let mut answer = PresetConfig::zeroed();
        answer.version = PresetConfig::VERSION;
        answer.config.version = Config::VERSION;
        let ask = present(self.functions().preset_config)?;
        self.call("preset", |encoder| {
            // SAFETY: writes the configuration.
            unsafe { ask(encoder, codec, preset, tuning, &raw mut answer) }
        })?;
        Ok(answer.config)
    }

    /// Configures the session, once.
    ///
    /// # Errors
    /// Where the card does not take the configuration, or as the driver says.
    pub fn initialize(&mut self, arguments: &Initialize, config: &Config) -> Result<(), Fault> {
        let (mut arguments, mut config) = (arguments.clone(), config.clone());
        arguments.config = &raw mut config;
        let ask = present(self.functions().initialize)?;
        self.call("configuration", |encoder| {
            // SAFETY: reads the arguments and the configuration they point to.
            unsafe { ask(encoder, &raw mut arguments) }
        })
    }

    /// Configures the session anew; `reset` forgets all pictures, and the next is an IDR.
    ///
    /// # Errors
    /// Where the card does not take the change: it goes on as before.
    pub fn reconfigure(&mut self, arguments: &Initialize, config: &Config, reset: bool) -> Result<(), Fault> {
        let mut config = config.clone();
        let mut change = Reconfigure::zeroed();
        change.version = Reconfigure::VERSION;
        change.initialize = arguments.clone();
        change.initialize.config = &raw mut config;
        change.flags = if reset { Reconfigure::RESET } else { 0 };
        let ask = present(self.functions().reconfigure)?;
        self.call("change", |encoder| {
            // SAFETY: reads the arguments and the configuration they point to.
            unsafe { ask(encoder, &raw mut change) }
        })
    }

    /// Makes a pair of buffers for pictures of this size.
    ///
    /// # Errors
    /// For want of the card's memory, mostly.
    pub fn add_slot(&mut self, width: u32, height: u32, format: u32) -> Result<Slot, Fault> {
        let mut input = CreateInput::zeroed();
        input.version = CreateInput::VERSION;
        (input.width, input.height, input.format) = (width, height, format);
        let ask = present(self.functions().create_input)?;
        self.call("input's buffer", |encoder| {
            // SAFETY: reads the arguments, writes the handle into them.
            unsafe { ask(encoder, &raw mut input) }
        })?;
        let input = handle(input.input, "input's buffer")?;
        let output = self.add_output().inspect_err(|_| self.destroy_input(input))?;
        self.buffers.push(Buffer { input, output });
        Ok(Slot(self.buffers.len() - 1))
    }

    fn add_output(&self) -> Result<Handle, Fault> {
        let mut output = CreateOutput::zeroed();
        output.version = CreateOutput::VERSION;
        let ask = present(self.functions().create_output)?;
        self.call("output's buffer", |encoder| {
            // SAFETY: reads the arguments, writes the handle into them.
            unsafe { ask(encoder, &raw mut output) }
        })?;
        handle(output.output, "output's buffer")
    }

    /// Gives all buffers back; none may hold a picture.
    pub fn clear_slots(&mut self) {
        for buffer in std::mem::take(&mut self.buffers) {
            self.destroy_input(buffer.input);
            if let Some(destroy) = self.functions().destroy_output {
                // SAFETY: the session made it, and it is in no list any more. A failure could not be mended here.
                let _ = self.call("buffer", |encoder| unsafe { destroy(encoder, buffer.output.as_ptr()) });
            }
        }
    }

    fn destroy_input(&self, input: Handle) {
        if let Some(destroy) = self.functions().destroy_input {
            // SAFETY: the session made it, and it is in no list any more. A failure could not be mended here.
            let _ = self.call("buffer", |encoder| unsafe { destroy(encoder, input.as_ptr()) });
        }
    }

    /// Writes a picture into a slot: `fill` has `rows` rows of the pitch that it is told. The result is that pitch.
    ///
    /// # Errors
    /// As the driver says.
    pub fn write(
        &mut self,
        slot: Slot,
        rows: usize,
        fill: impl FnOnce(&mut [u8], usize),
    ) -> Result<u32, Fault> {
        let input = self.buffers[slot.0].input.as_ptr();
        let mut lock = LockInput::zeroed();
        lock.version = LockInput::VERSION;
        lock.input = input;
        let ask = present(self.functions().lock_input)?;
        self.call("input", |encoder| {
            // SAFETY: reads the arguments, writes pointer and pitch into them.
            unsafe { ask(encoder, &raw mut lock) }
        })?;
        if let Some(data) = NonNull::new(lock.data.cast::<u8>()) {
            let pitch = lock.pitch as usize;
            // SAFETY: the buffer was made for a picture of this format and height, whose rows are these; the driver leaves it
            // alone until it is unlocked.
            fill(unsafe { slice::from_raw_parts_mut(data.as_ptr(), pitch * rows) }, pitch);
        }
        let ask = present(self.functions().unlock_input)?;
        self.call("input", |encoder| {
            // SAFETY: undoes the lock; the slice is gone.
            unsafe { ask(encoder, input) }
        })?;
        Ok(lock.pitch)
    }

    /// Hands in the picture that was written into a slot.
    ///
    /// # Errors
    /// As the driver says; see `Fault::passes`.
    pub fn encode(&mut self, slot: Slot, frame: Frame) -> Result<Taken, Fault> {
        let Buffer { input, output } = &self.buffers[slot.0];
        let mut picture = Picture::zeroed();
        (picture.width, picture.height, picture.pitch) = (frame.width, frame.height, frame.pitch);
        (picture.input, picture.output) = (input.as_ptr(), output.as_ptr());
        picture.format = frame.format;
        picture.flags = frame.flags;
        picture.timestamp = frame.timestamp;
        picture.structure = abi::PROGRESSIVE;
        self.submit(picture)
    }

    /// Says that no picture follows: what was kept back can be read.
    ///
    /// # Errors
    /// As the driver says.
    pub fn end(&mut self) -> Result<(), Fault> {
        let mut picture = Picture::zeroed();
        picture.flags = abi::flag::END_OF_STREAM;
        self.submit(picture).map(|_| ())
    }

    fn submit(&self, mut picture: Picture) -> Result<Taken, Fault> {
        picture.version = Picture::VERSION;
        let ask = present(self.functions().encode)?;
        let submitted = self.call("picture", |encoder| {
            // SAFETY: reads the arguments, which name buffers of this session.
            unsafe { ask(encoder, &raw mut picture) }
        });
        match submitted {
            Ok(()) => Ok(Taken::Done),
            Err(fault) if fault.status == status::NEED_MORE_INPUT => Ok(Taken::Kept),
            Err(fault) => Err(fault),
        }
    }

    /// Reads the bits of the longest waiting slot, which this must be; waits until the card has them.
    ///
    /// # Errors
    /// As the driver says; see `Fault::passes`.
    pub fn read(&mut self, slot: Slot) -> Result<Bits, Fault> {
        let output = self.buffers[slot.0].output.as_ptr();
        let mut lock = LockOutput::zeroed();
        lock.version = LockOutput::VERSION;
        lock.output = output;
        let ask = present(self.functions().lock_output)?;
        self.call("bits", |encoder| {
            // SAFETY: reads the arguments, writes what there is into them.
            unsafe { ask(encoder, &raw mut lock) }
        })?;
        let data = NonNull::new(lock.data.cast::<u8>()).map_or_else(Vec::new, |data| {
            // SAFETY: the driver keeps so many octets there until the output is unlocked.
            unsafe { slice::from_raw_parts(data.as_ptr(), lock.octets as usize) }.to_vec()
        });
        let ask = present(self.functions().unlock_output)?;
        self.call("bits", |encoder| {
            // SAFETY: undoes the lock; the octets are copied.
            unsafe { ask(encoder, output) }
        })?;
        Ok(Bits { data, timestamp: lock.timestamp, key: lock.picture_type == abi::PICTURE_IDR })
    }

    fn functions(&self) -> &Functions {
        &self.driver.functions
    }

    fn call(&self, what: &str, call: impl FnOnce(*mut c_void) -> u32) -> Result<(), Fault> {
        let _current = self.context.enter().map_err(Fault::cuda)?;
        match call(self.handle.as_ptr()) {
            status::SUCCESS => Ok(()),
            status => Err(Fault::new(what, status, self.last_error().as_deref())),
        }
    }

    /// The driver's words on the call before, where it has any.
    fn last_error(&self) -> Option<String> {
        let ask = self.functions().last_error?;
        // SAFETY: gives a text of the session's, or null.
        let text = unsafe { ask(self.handle.as_ptr()) };
        if text.is_null() {
            return None;
        }
        // SAFETY: ended by a zero, and copied before the next call could change it.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        let text = text.trim().trim_end_matches('.');
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.clear_slots();
        if let Some(destroy) = self.functions().destroy {
            // SAFETY: nothing of the session is used after this. A failure could not be mended here.
            let _ = self.call("end", |encoder| unsafe { destroy(encoder) });
        }
    }
}

fn handle(pointer: *mut c_void, what: &str) -> Result<Handle, Fault> {
    NonNull::new(pointer).ok_or_else(|| Fault::new(what, status::INVALID_PTR, None))
}
