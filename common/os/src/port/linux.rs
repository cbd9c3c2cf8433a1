//! By `/proc`: the table of sockets, and each process's descriptors.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};

/// The kernel hands a page of the table out at a time and finds its place again by counting lines, so that one is left out
/// where a socket of an earlier one was closed meanwhile.
const READINGS: usize = 4;
/// Room for the whole table at first: where there is none, the standard library reads a few octets at a time, and each reading
/// may leave a line out.
const ROOM: usize = 1 << 16;

pub(super) fn owner(address: SocketAddr) -> Option<String> {
    let sockets = (0..READINGS).map(|_| holders(&table(address).unwrap_or_default(), address));
    let sockets = sockets.into_iter().find(|sockets| !sockets.is_empty())?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok()).find_map(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let holds = files.flatten().any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
        });
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|_| holds)?;
        Some(format!("{} (pid {pid})", name.trim()))
    })
}

fn table(address: SocketAddr) -> io::Result<String> {
    let path = if address.is_ipv6() { "/proc/net/udp6" } else { "/proc/net/udp" };
    let mut table = String::with_capacity(ROOM);
    File::open(path)?.read_to_string(&mut table)?;
    Ok(table)
}

/// The open sockets that are in the way of one with this address, as descriptors show them.
fn holders(table: &str, address: SocketAddr) -> Vec<String> {
    let wanted = digits(address.ip());
    let holder = |line: &str| {
        let mut fields = line.split_whitespace();
        let (ip, port) = fields.nth(1)?.rsplit_once(':')?;
        // After the local address come the remote one, state, queues, timer, retransmits, uid and timeout.
        let inode = fields.nth(7)?;
        let everywhere = address.ip().is_unspecified() || ip.bytes().all(|digit| digit == b'0');
        let in_the_way = u16::from_str_radix(port, 16) == Ok(address.port()) && (everywhere || ip == wanted);
        // One that is being closed belongs to nobody any more.
        (in_the_way && inode != "0").then(|| format!("socket:[{inode}]"))
    };
    table.lines().skip(1).filter_map(holder).collect()
}

/// An address as the table has it: words of 32 bits, each in this machine's order.
fn digits(ip: IpAddr) -> String {
    let digits =
        |words: &[[u8; 4]]| words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect();
    match ip {
        IpAddr::V4(ip) => digits(&[ip.octets()]),
        IpAddr::V6(ip) => digits(ip.octets().as_chunks().0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_socket_is_in_the_way_by_its_port_and_its_address() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  102: 0200007F:C350 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11 2 0000000000000000 0
  102: 0100007F:C350 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0000000000000000 0
  102: 0100007F:C350 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0000000000000000 0
  102: 00000000:C350 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 13 2 0000000000000000 0
  103: 0100007F:C351 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 14 2 0000000000000000 0
";
        for (address, inodes) in [
            ("127.0.0.1:50000", &[12, 13][..]),
            ("0.0.0.0:50000", &[11, 12, 13]),
            ("127.0.0.1:50001", &[14]),
            ("127.0.0.1:50002", &[]),
        ] {
            let sockets: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
            assert_eq!(holders(table, address.parse().unwrap()), sockets, "{address}");
        }
        assert_eq!(digits("::1".parse().unwrap()), "00000000000000000000000001000000");
    }
}
