//! Interfaces by `getifaddrs`.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Interface;

pub(super) fn all() -> Vec<Interface> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the pointer is valid for writing; what it points to afterwards is freed below.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut next = first;
    // SAFETY: each entry is valid until the list is freed, and the last one points nowhere.
    while let Some(entry) = unsafe { next.as_ref() } {
        note(&mut all, entry);
        next = entry.ifa_next;
    }
    // SAFETY: `first` is what getifaddrs gave, and nothing refers to it any more.
    unsafe { libc::freeifaddrs(first) };
    all
}

fn note(all: &mut Vec<Interface>, entry: &libc::ifaddrs) {
    // SAFETY: the name is a C string that lives as long as its entry.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) };
    // SAFETY: as above.
    let index = unsafe { libc::if_nametoindex(entry.ifa_name) };
    if index == 0 {
        // It went away just now.
        return;
    }
    let known = all.iter().position(|interface| interface.index == index);
    let place = known.unwrap_or_else(|| {
        let name = name.to_string_lossy().into_owned();
        let has = |flags: libc::c_int| entry.ifa_flags & flags as libc::c_uint == flags as libc::c_uint;
        all.push(Interface {
            link_changes: link_changes(&name),
            name,
            index,
            addresses: Vec::new(),
            running: has(libc::IFF_UP | libc::IFF_RUNNING),
            multicast: has(libc::IFF_MULTICAST),
            loopback: has(libc::IFF_LOOPBACK),
        });
        all.len() - 1
    });
    all[place].addresses.extend(address(entry.ifa_addr));
}

fn address(pointer: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null, or an address that lives as long as its entry.
    let family = unsafe { pointer.as_ref() }?.sa_family;
    match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is of this kind.
            let v4 = unsafe { pointer.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is of this kind.
            let v6 = unsafe { pointer.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// Linux counts them; elsewhere only what lasts is seen.
fn link_changes(name: &str) -> u64 {
    let path = format!("/sys/class/net/{name}/carrier_changes");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
