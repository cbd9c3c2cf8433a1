//! The network interfaces of this machine, as they are at the moment.

use std::net::{IpAddr, Ipv4Addr};

#[cfg(all(unix, not(feature = "fallback")))]
#[path = "interface/unix.rs"]
mod system;
#[cfg(not(all(unix, not(feature = "fallback"))))]
#[path = "interface/fallback.rs"]
mod system;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// The system's number for it, never 0.
    pub index: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// It is up, and its link is too.
    pub running: bool,
    /// It takes datagrams for groups.
    pub multicast: bool,
    /// It leads to this machine alone.
    pub loopback: bool,
    /// How often its link has come and gone, where the system counts that.
    pub link_changes: u64,
}

impl Interface {
    /// Whether this is its name or one of its addresses.
    pub fn is_called(&self, text: &str) -> bool {
        self.name == text || text.parse().is_ok_and(|address| self.addresses.contains(&address))
    }

    /// Its first IPv4 address.
    pub fn v4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
    }
}

/// Every interface, in the system's order; none where the system does not tell.
pub fn all() -> Vec<Interface> {
    system::all()
}

/// The interface of this name or address.
///
/// # Errors
/// One line that names those that there are.
pub fn find(text: &str) -> Result<Interface, String> {
    let all = all();
    if let Some(found) = all.iter().find(|interface| interface.is_called(text)) {
        return Ok(found.clone());
    }
    let names: Vec<_> = all.iter().map(|interface| interface.name.as_str()).collect();
    let there = if names.is_empty() { "none that can be named here".into() } else { names.join(", ") };
    Err(format!("there is no network interface `{text}`; this machine has {there}"))
}

#[cfg(all(test, unix, not(feature = "fallback")))]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_by_name_and_by_address() {
        let loopback = all().into_iter().find(|interface| interface.loopback).unwrap();
        assert!(loopback.index > 0 && loopback.running, "{loopback:?}");
        assert_eq!(find(&loopback.name).unwrap(), loopback);
        assert_eq!(find("127.0.0.1").unwrap().v4(), Some(Ipv4Addr::LOCALHOST));
        let error = find("no such wire").unwrap_err();
        assert!(error.contains("`no such wire`") && error.contains(&loopback.name), "{error}");
    }
}
