//! Who holds a UDP port, where the system tells.

use std::net::SocketAddr;

#[cfg(target_os = "linux")]
#[path = "port/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "port/fallback.rs"]
mod system;

/// The program that keeps others from binding to a UDP address of this machine, as `name (pid 123)`.
pub fn owner(address: SocketAddr) -> Option<String> {
    system::owner(address)
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
