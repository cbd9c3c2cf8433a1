//! UDP sockets: sized, marked, never blocking; datagrams in batches with their arrival times.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proto::units::Mono;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::clock;
use crate::multicast::Outgoing;

#[cfg(all(target_os = "linux", not(feature = "fallback")))]
#[path = "udp/batch_linux.rs"]
mod batch;
#[cfg(not(all(target_os = "linux", not(feature = "fallback"))))]
#[path = "udp/batch_fallback.rs"]
mod batch;

/// Kernel buffers asked for, in octets: half a second of sixteen channels in small packets.
const BUFFER: usize = 1 << 20;
/// Expedited forwarding (RFC 3246), the differentiated services code point of what must not wait.
pub const EXPEDITED: u8 = 46;

/// A bound socket that never blocks.
#[derive(Debug)]
pub struct Socket {
    inner: socket2::Socket,
    state: UdpSocketState,
}

impl Socket {
    /// Binds to an address; port 0 has the system choose one. Datagrams that go out are marked for expedited
    /// forwarding where the system allows it.
    ///
    /// # Errors
    /// The system's, unchanged: the address may be in use, absent or reserved.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, false)
    }

    /// The same for an address that several sockets of this machine may be bound to: that of a group, or one that is sent to
    /// groups from over several interfaces. Of groups, only what this socket has joined comes in.
    ///
    /// # Errors
    /// The system's, unchanged.
    pub fn shared(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, true)
    }

    fn open(address: SocketAddr, shared: bool) -> io::Result<Self> {
        let inner = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            inner.set_only_v6(true)?;
        }
        if shared {
            share(&inner, address)?;
        }
        inner.bind(&SockAddr::from(address))?;
        inner.set_nonblocking(true)?;
        // Smaller buffers and unmarked packets still work, so refusals are no errors.
        enlarge(&inner);
        let _ = mark(&inner, address, EXPEDITED);
        let state = UdpSocketState::new(UdpSockRef::from(&inner))?;
        Ok(Self { inner, state })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Marks what goes out with a differentiated services code point, 0 to 63, instead of [`EXPEDITED`].
    ///
    /// # Errors
    /// The system's: not every one lets programs mark.
    pub fn mark(&self, dscp: u8) -> io::Result<()> {
        mark(&self.inner, self.local_addr()?, dscp)
    }

    /// Says how datagrams for groups leave.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::AddrNotAvailable`] where the interface has no address of this family.
    pub fn send_to_groups(&self, outgoing: &Outgoing) -> io::Result<()> {
        outgoing.apply(&self.inner, self.local_addr()?.is_ipv6())
    }

    /// Octets of the smaller of its buffers, where the system gave less than what was asked for.
    pub fn short_buffer(&self) -> Option<usize> {
        // Linux counts its own overhead in: it says twice what was asked for.
        let overhead = if cfg!(target_os = "linux") { 2 } else { 1 };
        let sizes = [self.inner.recv_buffer_size(), self.inner.send_buffer_size()];
        let least = sizes.into_iter().flatten().min()? / overhead;
        (least < BUFFER).then_some(least)
    }

    pub(crate) fn share(&self) -> io::Result<socket2::Socket> {
        self.inner.try_clone()
    }

    /// Sends one datagram. Whether it went out.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> bool {
        self.inner.send_to(bytes, &SockAddr::from(to)).is_ok()
    }

    #[cfg(all(unix, not(feature = "fallback")))]
    pub(crate) fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.inner)
    }

    #[cfg(not(all(unix, not(feature = "fallback"))))]
    pub(crate) fn is_readable(&self) -> bool {
        let mut octet = [std::mem::MaybeUninit::uninit()];
        match self.inner.peek(&mut octet) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// The unspecified address of the same family.
pub fn any(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// What to do where buffers are short, in one line.
pub fn remedy(octets: usize) -> String {
    let remedy = if cfg!(target_os = "linux") {
        "; sysctl -w net.core.rmem_max=1048576 net.core.wmem_max=1048576 allows it"
    } else {
        ""
    };
    format!(
        "the system gives sockets {} KiB of room instead of {} KiB, so that packets may be lost on a busy machine{remedy}",
        octets / 1024,
        BUFFER / 1024
    )
}

/// The system's limit binds whoever may not go beyond it.
fn enlarge(socket: &socket2::Socket) {
    #[cfg(target_os = "linux")]
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        let octets = BUFFER as libc::c_int;
        let length = size_of_val(&octets) as libc::socklen_t;
        let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
        // SAFETY: the descriptor is open, pointer and length describe `octets`.
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const octets).cast(), length) };
    }
    let large = |size: io::Result<usize>| size.is_ok_and(|size| size >= BUFFER);
    if !large(socket.recv_buffer_size()) {
        let _ = socket.set_recv_buffer_size(BUFFER);
    }
    if !large(socket.send_buffer_size()) {
        let _ = socket.set_send_buffer_size(BUFFER);
    }
}

fn share(socket: &socket2::Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    // Others than Linux share ports of groups by this one alone; Linux would spread unicast over those who share, and all
    // sockets of a sender are read by one thread.
    if !address.ip().is_multicast() || !cfg!(target_os = "linux") {
        share_port(socket)?;
    }
    // By default Linux hands a socket what any socket of the machine has joined.
    #[cfg(target_os = "linux")]
    if address.is_ipv6() {
        socket.set_multicast_all_v6(false)?
    } else {
        socket.set_multicast_all_v4(false)?
    }
    Ok(())
}

#[cfg(unix)]
fn share_port(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share_port(_: &socket2::Socket) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn mark(socket: &socket2::Socket, address: SocketAddr, dscp: u8) -> io::Result<()> {
    let class = u32::from(dscp) << 2;
    if address.is_ipv6() { socket.set_tclass_v6(class) } else { socket.set_tos_v4(class) }
}

#[cfg(not(unix))]
fn mark(socket: &socket2::Socket, address: SocketAddr, dscp: u8) -> io::Result<()> {
    if address.is_ipv6() { Ok(()) } else { socket.set_tos_v4(u32::from(dscp) << 2) }
}

/// Datagrams fetched at a time, and octets kept of each: the kernel may hand several of equal length over as one.
const BATCH: usize = 8;
const ROOM: usize = 1 << 16;

/// Memory for datagrams that arrive.
pub struct Inbox {
    octets: Vec<u8>,
    meta: [RecvMeta; BATCH],
}

impl Default for Inbox {
    fn default() -> Self {
        Self { octets: vec![0; BATCH * ROOM], meta: [RecvMeta::default(); BATCH] }
    }
}

impl Inbox {
    /// Hands every datagram that waits in a socket to `handle`, with its arrival time and its sender, in order, up to
    /// a fixed number of batches. Whether the socket was emptied.
    pub fn receive(&mut self, socket: &Socket, mut handle: impl FnMut(Mono, SocketAddr, &[u8])) -> bool {
        const ROUNDS: usize = 16;
        for _ in 0..ROUNDS {
            let Some(count) = self.fetch(socket) else { return true };
            let (now, wall) = (clock::now(), clock::unix_nanos());
            for (meta, octets) in self.meta[..count].iter().zip(self.octets.chunks_exact(ROOM)) {
                let at = arrival(meta.timestamp, now, wall);
                let mut rest = &octets[..meta.len];
                // An empty datagram is one, too.
                while {
                    let (datagram, after) = rest.split_at(meta.stride.min(rest.len()));
                    handle(at, meta.addr, datagram);
                    rest = after;
                    !rest.is_empty() && meta.stride > 0
                } {}
            }
            if count < BATCH {
                return true;
            }
        }
        false
    }

    fn fetch(&mut self, socket: &Socket) -> Option<usize> {
        let mut rooms = self.octets.chunks_exact_mut(ROOM);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        loop {
            match socket.state.recv(UdpSockRef::from(&socket.inner), &mut slices, &mut self.meta) {
                Ok(count) => return Some(count),
                // Other systems report an unreachable client here; the datagrams behind it are still wanted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(_) => return None,
            }
        }
    }
}

/// The kernel stamps with the wall clock; what it says of the past is kept only where it is plausible.
fn arrival(stamp: Option<Duration>, now: Mono, wall: i64) -> Mono {
    const OLDEST: i64 = 1_000_000_000;
    let age = stamp.map_or(0, |stamp| wall - stamp.as_nanos() as i64);
    now.plus(if (0..OLDEST).contains(&age) { -age } else { 0 })
}

/// Datagrams waiting to be sent together.
pub struct Outbox {
    octets: Vec<u8>,
    queue: Vec<Queued>,
    calls: u64,
}

struct Queued {
    start: usize,
    length: usize,
    to: SockAddr,
}

const OUTBOX_DATAGRAMS: usize = 64;
const OUTBOX_OCTETS: usize = 1 << 17;

impl Default for Outbox {
    fn default() -> Self {
        Self {
            octets: Vec::with_capacity(OUTBOX_OCTETS),
            queue: Vec::with_capacity(OUTBOX_DATAGRAMS),
            calls: 0,
        }
    }
}

impl Outbox {
    /// Queues one datagram for each address, sending what is queued whenever room runs out. `unsent` is told of each
    /// address that the socket would not take a datagram for.
    pub fn push(
        &mut self,
        socket: &Socket,
        bytes: &[u8],
        to: impl Iterator<Item = SocketAddr>,
        mut unsent: impl FnMut(SocketAddr),
    ) {
        let mut start = None;
        for address in to {
            let room = self.octets.len() + bytes.len() <= OUTBOX_OCTETS;
            if self.queue.len() == OUTBOX_DATAGRAMS || (start.is_none() && !room) {
                self.flush(socket, &mut unsent);
                start = None;
            }
            let start = *start.get_or_insert_with(|| {
                self.octets.extend_from_slice(bytes);
                self.octets.len() - bytes.len()
            });
            self.queue.push(Queued { start, length: bytes.len(), to: SockAddr::from(address) });
        }
    }

    /// Sends what is queued. A socket that is full loses the datagrams; nothing waits.
    pub fn flush(&mut self, socket: &Socket, mut unsent: impl FnMut(SocketAddr)) {
        let mut rest = &self.queue[..];
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(batch::AT_ONCE)];
            let sent = batch::send(socket, &self.octets, batch);
            self.calls += 1;
            rest = &rest[sent..];
            if sent == batch.len() {
                continue;
            }
            if let Some((refused, after)) = rest.split_first() {
                refused.to.as_socket().into_iter().for_each(&mut unsent);
                rest = after;
            }
        }
        self.queue.clear();
        self.octets.clear();
    }

    /// Times that the system was called so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Socket {
        Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_batch_arrives_whole_in_order_and_stamped() {
        let (from, to) = (bound(), bound());
        let target = to.local_addr().unwrap();
        let before = clock::now();
        let mut outbox = Outbox::default();
        for number in 0..100u8 {
            outbox.push(&from, &[number; 20], std::iter::once(target), |_| panic!("not sent"));
        }
        outbox.flush(&from, |_| panic!("not sent"));
        let mut seen = Vec::new();
        assert!(Inbox::default().receive(&to, |at, address, datagram| {
            assert!(at >= before.plus(-1_000_000) && at <= clock::now());
            assert_eq!(address, from.local_addr().unwrap());
            assert_eq!(datagram.len(), 20);
            seen.push(datagram[0]);
        }));
        assert_eq!(seen, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn one_datagram_goes_to_many() {
        let from = bound();
        let receivers: Vec<_> = (0..70).map(|_| bound()).collect();
        let addresses: Vec<_> = receivers.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let mut outbox = Outbox::default();
        outbox.push(&from, b"to all", addresses.iter().copied(), |_| panic!("not sent"));
        outbox.flush(&from, |_| panic!("not sent"));
        let mut inbox = Inbox::default();
        for socket in &receivers {
            let mut count = 0;
            inbox.receive(socket, |_, _, datagram| {
                assert_eq!(datagram, b"to all");
                count += 1;
            });
            assert_eq!(count, 1);
        }
    }

    #[test]
    fn a_datagram_that_cannot_go_is_named_and_the_others_go() {
        let (from, to) = (bound(), bound());
        let target = to.local_addr().unwrap();
        // An IPv4 socket cannot send to an IPv6 address.
        let impossible: SocketAddr = "[::1]:9".parse().unwrap();
        let mut outbox = Outbox::default();
        outbox.push(&from, b"x", [target, impossible, target].into_iter(), |_| {});
        let mut refused = Vec::new();
        outbox.flush(&from, |address| refused.push(address));
        assert_eq!(refused, [impossible]);
        let mut count = 0;
        Inbox::default().receive(&to, |_, _, _| count += 1);
        assert_eq!(count, 2);
    }

    #[test]
    fn a_port_in_use_is_refused() {
        let socket = bound();
        let error = Socket::bind(socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
