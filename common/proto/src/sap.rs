//! Session announcements (SAP, RFC 2974): a session's description, told again and again to a multicast group, and taken back.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Reject;
use crate::cursor::{Reader, Writer};

/// The port of announcements.
pub const PORT: u16 = 9875;
/// What announcements carry where they do not say.
pub const SDP: &str = "application/sdp";

/// Most octets before the description, where its type is [`SDP`].
pub const MAX_HEADER: usize = 4 + 16 + SDP.len() + 1;

/// Where announcements are heard: of the whole Internet, of a site, of an organisation (RFC 2974, 3), and where PulseAudio and
/// PipeWire tell theirs.
pub const GROUPS_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(224, 2, 127, 254),
    Ipv4Addr::new(239, 255, 255, 255),
    Ipv4Addr::new(239, 195, 255, 255),
    Ipv4Addr::new(224, 0, 0, 56),
];
/// The same for IPv6: of a link, a site, an organisation, the whole Internet.
pub const GROUPS_V6: [Ipv6Addr; 4] = [group_v6(2), group_v6(5), group_v6(8), group_v6(0xe)];

const fn group_v6(scope: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xff00 | scope, 0, 0, 0, 0, 0, 2, 0x7ffe)
}

/// Where a session is announced whose media go to this address: as far as they go (RFC 2974, 3). One that goes to a single
/// receiver concerns its site.
pub fn group_of(media: IpAddr) -> IpAddr {
    match media {
        IpAddr::V4(address) => match address.octets() {
            [239, 192..=195, ..] => GROUPS_V4[2],
            [224..=238, ..] => GROUPS_V4[0],
            _ => GROUPS_V4[1],
        }
        .into(),
        IpAddr::V6(address) if address.is_multicast() => group_v6(address.segments()[0] & 0x0f).into(),
        IpAddr::V6(_) => group_v6(5).into(),
    }
}

/// Least time between two rounds of so many announcements, each of so many octets, in seconds: that they take no more than
/// 4000 bit/s (RFC 2974, 3.1).
pub fn least_interval(announcements: usize, octets: usize) -> u64 {
    (announcements as u64).saturating_mul(octets as u64).saturating_mul(8) / 4000
}

const VERSION: u8 = 1;
/// The origin is an IPv6 address.
const ADDRESS_V6: u8 = 0x10;
/// The session is taken back.
const DELETION: u8 = 0x04;
const ENCRYPTED: u8 = 0x02;
const COMPRESSED: u8 = 0x01;

/// A checked view of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The session is over.
    pub deletion: bool,
    /// Changes with the description; with the origin it identifies the announcement. 0 is never written.
    pub hash: u16,
    /// Who announces.
    pub origin: IpAddr,
    /// The description's media type; [`SDP`] where none is named.
    pub payload_type: &'a str,
    /// The description; a deletion may have no more of it than the origin line.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`Reject::Version`] for any but 1, [`Reject::PayloadType`] where it is encrypted or compressed, [`Reject::Truncated`]
    /// where its length fields reach past the end, [`Reject::Value`] where the media type is no text.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader(datagram);
        let flags = reader.u8()?;
        if flags >> 5 != VERSION {
            return Err(Reject::Version);
        }
        if flags & (ENCRYPTED | COMPRESSED) != 0 {
            return Err(Reject::PayloadType);
        }
        let authentication = 4 * usize::from(reader.u8()?);
        let hash = reader.u16()?;
        let origin = if flags & ADDRESS_V6 == 0 {
            IpAddr::from(reader.u32()?.to_be_bytes())
        } else {
            let (high, low) = (reader.u64()?, reader.u64()?);
            IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
        };
        // Nothing here could be checked by it.
        reader.take(authentication)?;
        let (payload_type, payload) = split_type(reader.0)?;
        Ok(Self { deletion: flags & DELETION != 0, hash, origin, payload_type, payload })
    }

    /// Writes a datagram, which names its media type. `None` where `out` is too small.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let deletion = if self.deletion { DELETION } else { 0 };
        let family = if self.origin.is_ipv6() { ADDRESS_V6 } else { 0 };
        writer.put(&[VERSION << 5 | family | deletion, 0]);
        writer.put(&self.hash.to_be_bytes());
        match self.origin {
            IpAddr::V4(address) => writer.put(&address.octets()),
            IpAddr::V6(address) => writer.put(&address.octets()),
        }
        writer.put(self.payload_type.as_bytes());
        writer.put(&[0]);
        writer.put(self.payload);
        writer.finish()
    }
}

/// The media type, which ends with a zero, and what follows. Early senders name none and begin with the description (RFC
/// 2974, 6).
fn split_type(rest: &[u8]) -> Result<(&str, &[u8]), Reject> {
    if rest.starts_with(b"v=0") {
        return Ok((SDP, rest));
    }
    let mut parts = rest.splitn(2, |octet| *octet == 0);
    match (parts.next(), parts.next()) {
        (Some([]), Some(payload)) => Ok((SDP, payload)),
        (Some(name), Some(payload)) => Ok((str::from_utf8(name).map_err(|_| Reject::Value)?, payload)),
        _ => Err(Reject::Truncated),
    }
}

/// A hash for a description: the same for the same octets, and never 0, which would mean that there is none.
pub fn hash(payload: &[u8]) -> u16 {
    // FNV-1a, folded: small, and any two versions of a description differ in it but for one in 65 535.
    let hash = payload
        .iter()
        .fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193));
    ((hash >> 16 ^ hash) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Laid out by hand from the figure in RFC 2974, section 3.
    const GOLDEN: &[u8] = b"\x20\x00\x12\x34\xc0\x00\x02\x01application/sdp\0v=0\r\n";

    fn announcement() -> Packet<'static> {
        Packet {
            deletion: false,
            hash: 0x1234,
            origin: Ipv4Addr::new(192, 0, 2, 1).into(),
            payload_type: SDP,
            payload: b"v=0\r\n",
        }
    }

    fn written(packet: &Packet<'_>) -> std::vec::Vec<u8> {
        let mut out = [0; 256];
        let length = packet.write(&mut out).unwrap();
        out[..length].to_vec()
    }

    #[test]
    fn golden_bytes_both_ways() {
        assert_eq!(written(&announcement()), GOLDEN);
        assert_eq!(Packet::parse(GOLDEN), Ok(announcement()));
        let deletion = Packet { deletion: true, ..announcement() };
        assert_eq!(written(&deletion)[0], 0x24);
        assert_eq!(Packet::parse(&written(&deletion)), Ok(deletion));
    }

    #[test]
    fn origins_of_both_families() {
        let origin = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
        let bytes = written(&Packet { origin, ..announcement() });
        assert_eq!((bytes[0], bytes[4], bytes[19]), (0x30, 0x20, 1));
        assert_eq!(Packet::parse(&bytes).map(|packet| packet.origin), Ok(origin));
    }

    #[test]
    fn the_media_type_may_be_absent_and_authentication_is_passed_over() {
        for bytes in [
            &b"\x20\x00\x12\x34\xc0\x00\x02\x01v=0\r\n"[..],
            b"\x20\x00\x12\x34\xc0\x00\x02\x01\0v=0\r\n",
            b"\x20\x01\x12\x34\xc0\x00\x02\x01abcdv=0\r\n",
        ] {
            assert_eq!(Packet::parse(bytes), Ok(announcement()));
        }
    }

    #[test]
    fn refuses_by_reason() {
        let with = |flags: u8| Packet::parse(&[&[flags], &GOLDEN[1..]].concat()).map(|_| ()).unwrap_err();
        assert_eq!(with(0x40), Reject::Version);
        assert_eq!(with(0x22), Reject::PayloadType);
        assert_eq!(with(0x21), Reject::PayloadType);
        assert_eq!(Packet::parse(&GOLDEN[..7]), Err(Reject::Truncated));
        assert_eq!(Packet::parse(&GOLDEN[..20]), Err(Reject::Truncated));
        assert_eq!(Packet::parse(b"\x20\x09\x12\x34\xc0\x00\x02\x01v=0"), Err(Reject::Truncated));
        assert_eq!(Packet::parse(b"\x20\x00\x12\x34\xc0\x00\x02\x01\xff\0"), Err(Reject::Value));
        assert_eq!(announcement().write(&mut [0; 20]), None);
    }

    #[test]
    fn announcements_go_as_far_as_the_media() {
        for (media, group) in [
            ("192.0.2.1", "239.255.255.255"),
            ("239.255.1.2", "239.255.255.255"),
            ("239.69.1.2", "239.255.255.255"),
            ("239.193.0.1", "239.195.255.255"),
            ("224.2.200.1", "224.2.127.254"),
            ("2001:db8::1", "ff05::2:7ffe"),
            ("ff18::77", "ff08::2:7ffe"),
        ] {
            assert_eq!(group_of(media.parse().unwrap()), group.parse::<IpAddr>().unwrap(), "{media}");
        }
        assert_eq!(least_interval(100, 500), 100);
    }

    #[test]
    fn descriptions_that_differ_hash_differently_and_never_to_nothing() {
        assert_ne!(hash(b"v=0"), hash(b"v=1"));
        assert!((0..100_000u32).all(|n| hash(&n.to_be_bytes()) != 0));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(deletion: bool, hash: u16, origin: IpAddr, payload in prop::collection::vec(any::<u8>(), 0..99)) {
            let packet = Packet { deletion, hash, origin, payload_type: SDP, payload: &payload };
            let bytes = written(&packet);
            prop_assert_eq!(Packet::parse(&bytes), Ok(packet));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Packet::parse(&bytes);
        }
    }
}
