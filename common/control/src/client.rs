//! One client, as a person describes it.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use audio::map::{ChannelMap, Trim};
use audio::send::{Repair, Reports, Wire};

use crate::codec::Codec;
use crate::delay::Delay;
use crate::signal::Signal;

/// The port of the audioStreamUDP programs, where none is named.
pub const DEFAULT_PORT: u16 = 57_001;

/// The port of clients that name none.
pub fn default_port(wire: Wire) -> u16 {
    match wire {
        Wire::Rtp | Wire::Plain => DEFAULT_PORT,
        Wire::Vban => proto::vban::PORT,
    }
}

/// A receiver's entry in the sender's list. What is `None` follows the sender's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Its name, unique in the list.
    pub name: String,
    /// Address or host name.
    pub host: String,
    /// The same on another network, where it is reached by two paths.
    pub second: Option<String>,
    /// UDP port, of both; the wire format's own where `None`.
    pub port: Option<u16>,
    /// What it hears.
    pub map: ChannelMap,
    /// How loud.
    pub trim: Trim,
    /// Wire format.
    pub wire: Option<Wire>,
    /// Codec.
    pub codec: Option<Codec>,
    /// How its losses are repaired.
    pub repair: Option<Repair>,
    /// Where its reports go.
    pub reports: Option<Reports>,
    /// What it plays in place of its sound.
    pub test: Option<Signal>,
    /// The clients it plays in time with: those that name the same group, or all that name none.
    pub group: Option<String>,
    /// How much later than its group it plays.
    pub delay: Option<Delay>,
}

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By its first path, or by the only one that is known.
    pub first: SocketAddr,
    /// By its second one, if there is one.
    pub second: Option<SocketAddr>,
    /// Why it is known by one path alone where it has two: one line that names the client.
    pub missing: Option<String>,
}

/// Why a client's description was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}`: {reason}; a client is written NAME=ADDRESS:PORT/CHANNELS, like \"Node 1=192.168.2.249:57001/0,1+2\""
)]
pub struct ParseError {
    text: String,
    reason: String,
}

impl FromStr for Client {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = |reason: &str| ParseError { text: text.into(), reason: reason.into() };
        let (name, rest) = text.split_once('=').ok_or_else(|| refuse("there is no `=` after the name"))?;
        let (address, channels) =
            rest.rsplit_once('/').ok_or_else(|| refuse("there is no `/` before the channels"))?;
        let map: ChannelMap =
            channels.parse().map_err(|error: audio::map::Error| refuse(&error.to_string()))?;
        let (host, second, port) = split_addresses(address).map_err(refuse)?;
        if name.trim().is_empty() {
            return Err(refuse("the name is empty"));
        }
        if name.chars().any(char::is_control) {
            return Err(refuse("the name holds control characters"));
        }
        Ok(Self {
            name: name.trim().into(),
            host,
            second,
            port,
            map,
            trim: Trim::default(),
            wire: None,
            codec: None,
            repair: None,
            reports: None,
            test: None,
            group: None,
            delay: None,
        })
    }
}

/// `ADDRESS:PORT`, or `ADDRESS,ADDRESS:PORT` for two paths.
fn split_addresses(text: &str) -> Result<(String, Option<String>, Option<u16>), &'static str> {
    let past = text.strip_prefix('[').and_then(|rest| rest.find(']')).map_or(0, |end| end + 2);
    let Some(comma) = text.get(past..).and_then(|rest| rest.find(',')) else {
        return split_address(text).map(|(host, port)| (host, None, port));
    };
    let (first, second) = (&text[..past + comma], &text[past + comma + 1..]);
    let (host, None) = split_address(first)? else {
        return Err("the port stands once, behind the second address");
    };
    let (second, port) = split_address(second)?;
    if second.contains(',') {
        return Err("there are two addresses at most");
    }
    Ok((host, Some(second), port))
}

fn split_address(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']').ok_or("an IPv6 address ends with `]`")?;
            if !host.contains(':') || host.contains('[') {
                return Err("what stands in [ ] is no IPv6 address");
            }
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err("after `]` comes `:` and the port"),
                port => (host, port),
            }
        }
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err("an IPv6 address is written in [ ]"),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("the address is empty");
    }
    let port = match port {
        Some(port) => {
            Some(port.parse().ok().filter(|port| *port > 0).ok_or("a port is a number from 1 to 65535")?)
        }
        None => None,
    };
    Ok((host.into(), port))
}

impl Client {
    /// Looks up where it is, among the addresses that can be sent to, and where it is by the second path, if there is one.
    /// `wire` is the format that it gets. Of two paths one is enough: the other network may be down.
    ///
    /// # Errors
    /// One line that names the client, where none of its hosts has such an address.
    pub fn resolve(&self, wire: Wire, reachable: impl Fn(&SocketAddr) -> bool) -> Result<Found, String> {
        let look_up = |host: &str| {
            let mut found = (host, self.port.unwrap_or(default_port(wire)))
                .to_socket_addrs()
                .map_err(|error| format!("client `{}`: `{host}` has no address: {error}", self.name))?;
            found.find(&reachable).ok_or_else(|| {
                format!("client `{}`: `{host}` has no address that can be sent to from here", self.name)
            })
        };
        let by_one = |first, missing| Found { first, second: None, missing };
        match (look_up(&self.host), self.second.as_deref().map(look_up)) {
            (Ok(first), Some(Ok(second))) => Ok(Found { first, second: Some(second), missing: None }),
            (Ok(first), missing) => Ok(by_one(first, missing.and_then(Result::err))),
            (Err(missing), Some(Ok(second))) => Ok(by_one(second, Some(missing))),
            (Err(problem), _) => Err(problem),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |host: &String| if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "{}={}", self.name, bracketed(&self.host))?;
        if let Some(second) = &self.second {
            write!(f, ",{}", bracketed(second))?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_help_shows() {
        let client: Client = "Node 1=192.168.2.249:57001/1".parse().unwrap();
        assert_eq!(
            (client.name.as_str(), client.host.as_str(), client.port),
            ("Node 1", "192.168.2.249", Some(57_001))
        );
        assert_eq!(client.map.outputs(), [vec![1]]);
        assert_eq!(client.to_string(), "Node 1=192.168.2.249:57001/1");
        let client: Client = "a=[fe80::1]:5000/0,1+2".parse().unwrap();
        assert_eq!((client.host.as_str(), client.port), ("fe80::1", Some(5000)));
        assert_eq!(client.to_string(), "a=[fe80::1]:5000/0,1+2");
        for (text, hosts) in [
            ("a=10.0.1.2,10.0.2.2:5000/0", ["10.0.1.2", "10.0.2.2"]),
            ("a=[fd00::2],[fd01::2]:5000/0", ["fd00::2", "fd01::2"]),
        ] {
            let client: Client = text.parse().unwrap();
            assert_eq!([&client.host, client.second.as_ref().unwrap()], hosts);
            assert_eq!((client.port, client.to_string().as_str()), (Some(5000), text));
        }
        let client: Client = "pi=kitchen.local/0".parse().unwrap();
        assert_eq!((client.host.as_str(), client.port), ("kitchen.local", None));
        assert_eq!(client.to_string(), "pi=kitchen.local/0");
    }

    #[test]
    fn refuses_with_the_reason_and_an_example() {
        for (text, reason) in [
            ("1.2.3.4:5/0", "no `=`"),
            ("a=1.2.3.4:5", "no `/`"),
            ("a=1.2.3.4:5/", "not a channel"),
            ("a=1.2.3.4:0/0", "port"),
            ("a=1.2.3.4:70000/0", "port"),
            ("a=:5/0", "address is empty"),
            ("a=::1:5/0", "[ ]"),
            ("a=[::1/0", "]"),
            ("a=[::1]8/0", "after `]`"),
            ("a=[[,],]8/0", "no IPv6 address"),
            (" =h:5/0", "name is empty"),
            ("a=h:5,i:5/0", "port stands once"),
            ("a=h,i,j:5/0", "two addresses"),
            ("a=h,:5/0", "address is empty"),
        ] {
            let error = text.parse::<Client>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("Node 1="), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}") {
            if let Ok(client) = text.parse::<Client>() {
                prop_assert_eq!(client.to_string().parse::<Client>().unwrap(), client);
            }
        }
    }
}
