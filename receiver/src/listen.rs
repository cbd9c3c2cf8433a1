//! Where to listen: an address of this machine, or a multicast group on some of its interfaces.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use control::client::DEFAULT_PORT;
use control::sdp::Description;
use os::multicast::{self, Membership};
use os::udp::{Socket, any};

use crate::args::Settings;

/// Addresses that can be listened to: a stream comes by two paths at most.
const MOST: usize = 2;

/// What to listen with.
#[derive(Debug)]
pub struct Ears {
    /// Where: at least one.
    pub addresses: Vec<SocketAddr>,
    /// Bound sockets: for media, one for each address, and for reports where those have a port of their own. Of a multicast group
    /// these are for the answers that come to this machine alone.
    pub sockets: Vec<Socket>,
    /// How many of them are for media.
    pub media: usize,
    /// Membership in each group.
    pub memberships: Vec<Membership>,
}

impl Ears {
    /// Binds the sockets, where the description of a stream says or else the settings do. A group is not joined yet.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn open(settings: &Settings, description: Option<&Description>) -> Result<Self, String> {
        let unspecified = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let addresses = match description {
            Some(described) => {
                vec![SocketAddr::new(described.address.unwrap_or(unspecified), described.port)]
            }
            None if settings.listen.is_empty() => vec![SocketAddr::new(unspecified, DEFAULT_PORT)],
            None => settings.listen.iter().map(|text| parse(text)).collect::<Result<_, _>>()?,
        };
        let groups = addresses.iter().filter(|address| address.ip().is_multicast()).count();
        if addresses.len() > MOST || ![0, addresses.len()].contains(&groups) {
            return Err("--listen: at most two addresses, or two groups, which one stream comes by".into());
        }
        if groups > 0 {
            let sources = description.map_or(&[][..], |described| &described.sources);
            return Self::of_groups(settings, sources, addresses);
        }
        if !settings.source.is_empty() || !settings.interface.is_empty() {
            return Err(
                "--source and --interface go with a multicast group in --listen, like 239.1.2.3:5004".into(),
            );
        }
        let sockets = match description {
            Some(described) => bind_described(addresses[0], described.rtcp)?,
            None => addresses.iter().map(|address| bind(*address)).collect::<Result<_, _>>()?,
        };
        let media = addresses.len();
        let bound = sockets[..media].iter().map(Socket::local_addr).collect::<std::io::Result<Vec<_>>>();
        let addresses = bound.map_err(|error| format!("--listen: {error}"))?;
        Ok(Self { addresses, sockets, media, memberships: Vec::new() })
    }

    fn of_groups(
        settings: &Settings,
        described: &[IpAddr],
        addresses: Vec<SocketAddr>,
    ) -> Result<Self, String> {
        let (mut sockets, mut mouths, mut memberships) = (Vec::new(), Vec::<Socket>::new(), Vec::new());
        for &address in &addresses {
            let group = address.ip();
            if address.port() == 0 {
                return Err(format!("--listen {address}: a group has a port, like 5004"));
            }
            if let Some(source) = settings.source.iter().find(|source| source.is_ipv4() != group.is_ipv4()) {
                return Err(format!("--source {source}: the group {group} has no such sources"));
            }
            let refused = |error: std::io::Error| format!("--listen {address}: {error}");
            let sources = if settings.source.is_empty() { described } else { &settings.source };
            let sources = sources.iter().copied().filter(|source| source.is_ipv4() == group.is_ipv4());
            let (ear, membership) =
                multicast::listen(address, sources.collect(), settings.interface.clone()).map_err(refused)?;
            memberships.push(membership);
            sockets.push(ear);
            let same = |mouth: &Socket| mouth.local_addr().is_ok_and(|of| of.is_ipv4() == group.is_ipv4());
            if !mouths.iter().any(same) {
                mouths.push(Socket::bind(SocketAddr::new(any(group), 0)).map_err(refused)?);
            }
        }
        let media = sockets.len();
        sockets.append(&mut mouths);
        Ok(Self { addresses, sockets, media, memberships })
    }
}

/// The sockets for a stream that is described. One that goes to an address of this machine is listened for there, any other
/// on all addresses: descriptions that are handed around often name none of ours.
fn bind_described(address: SocketAddr, rtcp: Option<u16>) -> Result<Vec<Socket>, String> {
    let ours = Socket::bind(SocketAddr::new(address.ip(), 0)).is_ok();
    let here = if ours { address.ip() } else { any(address.ip()) };
    let ports = [Some(address.port()), rtcp];
    ports.iter().flatten().map(|port| bind(SocketAddr::new(here, *port))).collect()
}

fn bind(address: SocketAddr) -> Result<Socket, String> {
    Socket::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let holder = os::port::owner(address).map_or(String::new(), |owner| format!(" by {owner}"));
            format!("--listen {address}: the port is in use{holder}; choose another, or end the program that has it")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("--listen {address}: this machine has no such address; 0.0.0.0 listens on all of them")
        }
        _ => format!("--listen {address}: {error}"),
    })
}

fn parse(text: &str) -> Result<SocketAddr, String> {
    let port_only = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    match port_only {
        Ok(port) => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        Err(_) => text.parse().map_err(|_| {
            format!("--listen {text}: write ADDRESS:PORT, like 0.0.0.0:57001 or [::]:57001, or a port alone")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_bare_ports() {
        assert_eq!(parse("57001"), Ok("0.0.0.0:57001".parse().unwrap()));
        assert_eq!(parse(":5000"), Ok("0.0.0.0:5000".parse().unwrap()));
        assert_eq!(parse("[::1]:5000"), Ok("[::1]:5000".parse().unwrap()));
        assert!(parse("nonsense").unwrap_err().contains("ADDRESS:PORT"));
        assert!(parse("0.0.0.0:70000").is_err());
    }

    #[test]
    fn a_port_in_use_is_refused_with_its_owner() {
        let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = bind(holder.local_addr().unwrap()).unwrap_err();
        assert!(error.contains("in use"), "{error}");
        assert!(
            !cfg!(target_os = "linux") || error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_description_names_the_only_sources_of_a_group() {
        use os::multicast::Outgoing;
        let text = "v=0\nm=audio 52184 RTP/AVP 10\nc=IN IP4 239.77.1.3/1\na=source-filter: incl IN IP4 239.77.1.3 127.0.0.1\n";
        let description = control::sdp::parse(text).unwrap();
        let settings = Settings { interface: vec!["lo".into()], ..Settings::default() };
        let mut ears = Ears::open(&settings, Some(&description)).unwrap();
        ears.memberships[0].refresh().unwrap();
        let mut inbox = os::udp::Inbox::default();
        let interface = Some(os::interface::find("lo").unwrap());
        let outgoing = Outgoing { ttl: 1, loopback: true, interface };
        for (from, heard) in [("127.0.0.2:0", 0), ("127.0.0.1:0", 1)] {
            let mouth = Socket::bind(from.parse().unwrap()).unwrap();
            mouth.send_to_groups(&outgoing).unwrap();
            assert!(mouth.send(b"hark", ears.addresses[0]));
            let mut count = 0;
            inbox.receive(&ears.sockets[0], |_, _, _| count += 1);
            assert_eq!(count, heard, "{from}");
        }
    }

    #[test]
    fn what_goes_with_a_group_alone_is_refused_elsewhere() {
        let of = |listen: &str, source: &[&str]| {
            let source = source.iter().map(|text| text.parse().unwrap()).collect();
            let settings = Settings { listen: vec![listen.into()], source, ..Settings::default() };
            Ears::open(&settings, None)
        };
        for (listen, source, words) in [
            ("127.0.0.1:0", "10.0.0.1", "--source and --interface"),
            ("239.1.2.3:5004", "::1", "no such sources"),
            ("239.1.2.3:0", "10.0.0.1", "has a port"),
        ] {
            let error = of(listen, &[source]).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(of("239.77.1.1:52181", &[]).unwrap().sockets.len(), 2);
        let several = |listen: &[&str]| {
            let listen = listen.iter().map(|text| text.to_string()).collect();
            Ears::open(&Settings { listen, ..Settings::default() }, None)
        };
        let two = several(&["239.77.1.1:52181", "239.77.2.1:52181"]).unwrap();
        assert_eq!((two.media, two.sockets.len(), two.memberships.len()), (2, 3, 2));
        let error = several(&["239.77.1.1:52181", "127.0.0.1:0"]).unwrap_err();
        assert!(error.contains("at most two addresses"), "{error}");
    }
}
