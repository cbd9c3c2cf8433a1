//! How datagrams leave: from where, over which interfaces, how far, and how they are marked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use os::interface::{self, Interface};
use os::multicast::Outgoing;
use os::udp::{self, Socket};

use crate::args::Settings;

/// Interfaces that groups are sent to over at most: there is a socket for each of them and address family.
const MOST_INTERFACES: usize = 4;

/// How datagrams leave.
#[derive(Clone, Debug)]
pub struct Network {
    /// Local address to send from.
    pub bind: Option<IpAddr>,
    /// Networks that what is sent to groups may cross.
    pub ttl: u8,
    /// Programs on this machine hear what is sent to groups.
    pub loopback: bool,
    /// Where what is sent to groups leaves; the system's choice where there are none.
    pub interfaces: Vec<Interface>,
    /// Differentiated services code point.
    pub dscp: u8,
}

impl Default for Network {
    fn default() -> Self {
        Self { bind: None, ttl: 1, loopback: true, interfaces: Vec::new(), dscp: udp::EXPEDITED }
    }
}

impl Network {
    /// What the settings say.
    ///
    /// # Errors
    /// One line that names the option that cannot be had as it was asked for.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let usual = Self::default();
        if settings.ttl == Some(0) {
            return Err("--ttl goes from 1 to 255".into());
        }
        if settings.interface.len() > MOST_INTERFACES {
            return Err(format!("--interface: at most {MOST_INTERFACES} of them"));
        }
        let interfaces = settings.interface.iter().map(|text| interface::find(text));
        Ok(Self {
            bind: settings.bind,
            ttl: settings.ttl.unwrap_or(usual.ttl),
            loopback: !settings.no_loopback,
            interfaces: interfaces
                .collect::<Result<_, _>>()
                .map_err(|error| format!("--interface: {error}"))?,
            dscp: settings.dscp.as_deref().map_or(Ok(usual.dscp), dscp)?,
        })
    }

    /// One socket for each address family that the machine has, or for the one that was asked for, on each interface that
    /// groups are sent to over. Those of a family have one port, so that receivers answer to any of them.
    ///
    /// # Errors
    /// One line, where there is no socket at all, or a named interface cannot be used.
    pub fn sockets(&self) -> Result<Vec<Socket>, String> {
        let addresses = match self.bind {
            Some(address) => vec![address],
            None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        };
        let mut sockets = Vec::new();
        let mut refused = String::new();
        for address in addresses {
            match self.family(address) {
                Ok(family) => sockets.extend(family),
                Err(error) => refused = format!("cannot send from {address}: {error}"),
            }
        }
        if sockets.is_empty() { Err(refused) } else { Ok(sockets) }
    }

    fn family(&self, address: IpAddr) -> std::io::Result<Vec<Socket>> {
        let same =
            |interface: &&Interface| interface.addresses.iter().any(|a| a.is_ipv4() == address.is_ipv4());
        let interfaces: Vec<_> = self.interfaces.iter().filter(same).collect();
        let open = if interfaces.len() > 1 { Socket::shared } else { Socket::bind };
        let mut sockets = vec![open(SocketAddr::new(address, 0))?];
        let bound = sockets[0].local_addr()?;
        for _ in 1..interfaces.len() {
            sockets.push(open(bound)?);
        }
        for (n, socket) in sockets.iter().enumerate() {
            let interface = interfaces.get(n).map(|&interface| interface.clone());
            socket.send_to_groups(&Outgoing { ttl: self.ttl, loopback: self.loopback, interface })?;
            if self.dscp != udp::EXPEDITED {
                socket.mark(self.dscp)?;
            }
        }
        Ok(sockets)
    }
}

/// A code point by its name (RFC 2474, 2597, 3246) or number.
fn dscp(text: &str) -> Result<u8, String> {
    let named = match text.to_ascii_lowercase().as_str() {
        "ef" => Some(udp::EXPEDITED),
        "be" => Some(0),
        lower => match lower.as_bytes() {
            [b'c', b's', class @ b'0'..=b'7'] => Some((class - b'0') << 3),
            [b'a', b'f', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => {
                Some(((class - b'0') << 3) | ((drop - b'0') << 1))
            }
            _ => lower.parse().ok().filter(|number| *number < 64),
        },
    };
    named.ok_or_else(|| {
        format!("--dscp {text}: it is ef, be, cs0 to cs7, af11 to af43, or a number from 0 to 63")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_have_names_and_numbers() {
        let marks = ["EF", "af41", "af31", "cs5", "be", "46", "0"].map(|text| dscp(text).unwrap());
        assert_eq!(marks, [46, 34, 26, 40, 0, 46, 0]);
        for nonsense in ["", "64", "af44", "af51", "cs8", "-1", "high"] {
            assert!(dscp(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let of = |settings: Settings| Network::new(&settings).unwrap_err();
        assert!(of(Settings { ttl: Some(0), ..Settings::default() }).contains("--ttl"));
        let interface = vec!["no such wire".to_string()];
        let error = of(Settings { interface, ..Settings::default() });
        assert!(error.starts_with("--interface: there is no network interface `no such wire`"), "{error}");
        assert!(
            of(Settings { interface: vec![String::new(); 5], ..Settings::default() }).contains("at most 4")
        );
    }

    #[test]
    fn sockets_of_several_interfaces_have_one_port() {
        let loopback = interface::all().into_iter().find(|interface| interface.loopback);
        let Some(loopback) = loopback else { return };
        let twice = vec![loopback.clone(), loopback];
        let bind = Some(Ipv4Addr::UNSPECIFIED.into());
        let sockets = Network { bind, interfaces: twice, ..Network::default() }.sockets().unwrap();
        let ports: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert!(ports.len() == 2 && ports[0] == ports[1], "{ports:?}");
    }
}
