//! Where to listen: an address of this machine, or a multicast group on some of its interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use os::multicast::{self, Membership};
use os::udp::Socket;

use crate::args::Settings;

const DEFAULT_PORT: u16 = 57_001;

/// What to listen with.
#[derive(Debug)]
pub struct Ears {
    /// Where.
    pub address: SocketAddr,
    /// Bound sockets; the last one is spoken with. Of a multicast group they are two: answers come to this machine alone.
    pub sockets: Vec<Socket>,
    /// Membership in the group.
    pub membership: Option<Membership>,
}

impl Ears {
    /// Binds the sockets. A group is not joined yet.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let address = match &settings.listen {
            None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
            Some(text) => parse(text)?,
        };
        let group = address.ip();
        if !group.is_multicast() {
            if !settings.source.is_empty() || !settings.interface.is_empty() {
                return Err(
                    "--source and --interface go with a multicast group in --listen, like 239.1.2.3:5004"
                        .into(),
                );
            }
            let socket = bind(address)?;
            let address = socket.local_addr().map_err(|error| format!("--listen: {error}"))?;
            return Ok(Self { address, sockets: vec![socket], membership: None });
        }
        if address.port() == 0 {
            return Err(format!("--listen {address}: a group has a port, like 5004"));
        }
        if let Some(source) = settings.source.iter().find(|source| source.is_ipv4() != group.is_ipv4()) {
            return Err(format!("--source {source}: the group {group} has no such sources"));
        }
        let any: IpAddr =
            if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let refused = |error: std::io::Error| format!("--listen {address}: {error}");
        let ear = Socket::shared(multicast::listening_address(address)).map_err(refused)?;
        let mouth = Socket::bind(SocketAddr::new(any, 0)).map_err(refused)?;
        let (sources, interfaces) = (settings.source.clone(), settings.interface.clone());
        let membership = Membership::new(&ear, group, sources, interfaces).map_err(refused)?;
        Ok(Self { address, sockets: vec![ear, mouth], membership: Some(membership) })
    }
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
    fn what_goes_with_a_group_alone_is_refused_elsewhere() {
        let of = |listen: &str, source: &[&str]| {
            let source = source.iter().map(|text| text.parse().unwrap()).collect();
            Ears::open(&Settings { listen: Some(listen.into()), source, ..Settings::default() })
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
    }
}
