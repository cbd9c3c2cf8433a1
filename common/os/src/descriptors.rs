//! How many files and sockets the process may have open.

/// Asks the system to allow so many at a time, which it does up to the limit that an administrator has set. How many it allows
/// then; more than was asked for where it allows more anyway, or where it has no such limit.
#[cfg(unix)]
pub fn allow(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a value that lives longer than the call, of the type that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return u64::MAX;
    }
    // Their type differs between systems.
    #[allow(clippy::unnecessary_cast)]
    let (allowed, most) = (limit.rlim_cur as u64, limit.rlim_max as u64);
    let asked = wanted.min(most);
    if asked <= allowed {
        return allowed;
    }
    // Some systems have a limit of their own beside the one that they name, macOS this one.
    for asked in [asked, asked.min(10_240).max(allowed)] {
        limit.rlim_cur = asked as libc::rlim_t;
        // SAFETY: the pointer is to a value that lives longer than the call, which only reads it.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0 {
            return asked;
        }
    }
    allowed
}

/// Asks the system to allow so many at a time: here, it has no such limit.
#[cfg(not(unix))]
pub fn allow(_: u64) -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_already_stays_allowed() {
        let allowed = allow(0);
        assert!(allowed > 0);
        assert_eq!(allow(1), allowed);
        assert_eq!(allow(allowed), allowed);
    }
}
