//! Threads that must not be late, and a mark that lets tests see what runs on them.

use std::cell::Cell;
use std::fmt;

/// SCHED_FIFO priority of our threads: above ordinary ones, below JACK's and the kernel's interrupt threads.
const PRIORITY: u8 = 60;

/// The system would not give real-time priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no real-time priority ({}): sound may drop out on a busy machine. ", self.reason)?;
        if cfg!(target_os = "linux") {
            write!(
                f,
                "To allow it, add `@audio - rtprio 95` to /etc/security/limits.conf, join the group `audio` and log in \
                 again; in a systemd service, set LimitRTPRIO=95"
            )
        } else {
            write!(f, "Run the program with the right to raise priorities")
        }
    }
}

impl std::error::Error for Refused {}

/// Asks for real-time priority for the calling thread.
///
/// # Errors
/// [`Refused`] names the reason and the remedy; the thread goes on at ordinary priority.
pub fn promote() -> Result<(), Refused> {
    set_priority().map_err(|error| Refused { reason: format!("{error:?}") })
}

#[cfg(unix)]
fn set_priority() -> Result<(), thread_priority::Error> {
    use thread_priority::{
        RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let priority = ThreadPriority::Crossplatform(PRIORITY.try_into().unwrap_or_default());
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
}

#[cfg(not(unix))]
fn set_priority() -> Result<(), thread_priority::Error> {
    let priority = thread_priority::ThreadPriority::Crossplatform(PRIORITY.try_into().unwrap_or_default());
    thread_priority::set_current_thread_priority(priority)
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, the calling thread runs code that must not allocate, lock or wait.
pub struct Section(());

/// Marks the start of such code.
pub fn section() -> Section {
    DEPTH.set(DEPTH.get() + 1);
    Section(())
}

impl Drop for Section {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Whether the calling thread is in a [`Section`]. Never allocates: an allocator may ask.
pub fn in_section() -> bool {
    DEPTH.try_with(Cell::get).unwrap_or(0) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_nest_and_belong_to_one_thread() {
        let outer = section();
        {
            let _inner = section();
            assert!(in_section());
        }
        assert!(in_section());
        assert!(!std::thread::spawn(in_section).join().unwrap());
        drop(outer);
        assert!(!in_section());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = Refused { reason: "EPERM".into() };
        assert!(refused.to_string().contains("EPERM"));
        assert!(!cfg!(target_os = "linux") || refused.to_string().contains("rtprio"));
    }
}
