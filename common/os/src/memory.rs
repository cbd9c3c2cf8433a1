//! Memory that was freed.

/// Gives back to the system what the program has freed: an audio system that is opened reads half a MiB of settings, once. It locks
/// the allocator for a millisecond, so it is for threads that may wait.
pub fn release() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}
