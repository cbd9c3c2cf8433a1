//! Who holds a UDP port, where the system tells.

use std::net::SocketAddr;

/// The program that is bound to a UDP port on this machine, as `name (pid 123)`.
#[cfg(target_os = "linux")]
pub fn owner(address: SocketAddr) -> Option<String> {
    let table = if address.is_ipv6() { "/proc/net/udp6" } else { "/proc/net/udp" };
    let table = std::fs::read_to_string(table).ok()?;
    let inode = table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        // After the local address come the remote one, state, queues, timer, retransmits, uid and timeout.
        (u16::from_str_radix(port, 16) == Ok(address.port())).then(|| fields.nth(7))?
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok()).find_map(|pid| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let holds = files.flatten().any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
        });
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|_| holds)?;
        Some(format!("{} (pid {pid})", name.trim()))
    })
}

/// Nothing is known elsewhere.
#[cfg(not(target_os = "linux"))]
pub fn owner(_: SocketAddr) -> Option<String> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn finds_this_process() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let owner = owner(socket.local_addr().unwrap()).unwrap();
        assert!(owner.ends_with(&format!("(pid {})", std::process::id())), "{owner}");
    }
}
