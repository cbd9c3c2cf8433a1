//! Threads that must not be late, and a mark that lets tests see what runs on them.

use std::cell::Cell;

/// SCHED_FIFO priority of our threads: above a JACK server at 70 and the callbacks that it runs 5 below, since a callback is in
/// time only if what it plays was ready before; below the 88 of PipeWire.
const PRIORITY: u8 = 80;

/// What to do where [`promote`] was refused, in one line.
pub fn remedy() -> String {
    let remedy = if cfg!(target_os = "linux") {
        "add `@audio - rtprio 95` to /etc/security/limits.conf, join the group `audio` and log in again; in a systemd \
         service, set LimitRTPRIO=95"
    } else {
        "run the program with the right to raise priorities"
    };
    format!("the system gives no real-time priority, so sound may drop out on a busy machine; {remedy}")
}

/// Asks for real-time priority for the calling thread.
///
/// Whether it was given; if not, the thread goes on at ordinary priority and [`remedy`] says what to do.
pub fn promote() -> bool {
    set_priority().is_ok()
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
}
