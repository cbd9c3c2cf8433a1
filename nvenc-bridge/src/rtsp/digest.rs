//! Digest authentication (RFC 2617, without `qop`, in the form that RTSP clients know since RFC 2069).
//!
//! Each connection has a nonce of its own, so that what was overheard on one is worth nothing on another.

use std::fmt::Write;

use md5::{Digest, Md5};
use rtsp_types::Url;

use super::sdp::TRACK;

/// Who may watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Name, without `"` and `:`.
    pub user: String,
    /// Secret.
    pub password: String,
}

const REALM: &str = "nvenc-bridge";

/// What a client is asked.
pub(super) fn challenge(nonce: &str) -> String {
    format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=\"MD5\"")
}

impl Credentials {
    /// Whether a client's answer proves that it knows the password.
    pub(super) fn admit(&self, nonce: &str, method: &str, uri: Option<&Url>, header: &str) -> bool {
        let Some((scheme, rest)) = header.trim().split_once(' ') else { return false };
        let value = |name: &str| parameter(rest, name);
        let (Some(response), Some(stated)) = (value("response"), value("uri")) else { return false };
        let same = uri.is_none_or(|uri| match Url::parse(&stated) {
            Ok(stated) => is_of(stated.path(), uri.path()),
            Err(_) => is_of(&stated, uri.path()),
        });
        let hash = |text: String| hex(&Md5::digest(text));
        let owner = hash(format!("{}:{REALM}:{}", self.user, self.password));
        let act = hash(format!("{method}:{stated}"));
        let expected = hash(format!("{owner}:{nonce}:{act}"));
        scheme.eq_ignore_ascii_case("Digest")
            && same
            && value("username").as_deref() == Some(&self.user)
            && value("nonce").as_deref() == Some(nonce)
            && equal(response.as_bytes(), expected.as_bytes())
    }
}

/// Whether one path is that of a resource, or of the mount that the resource is a track of: some clients name that in all that they
/// ask for. A `/` at the end makes no difference.
fn is_of(stated: &str, path: &str) -> bool {
    let (stated, path) = (stated.trim_end_matches('/'), path.trim_end_matches('/'));
    let mount = path.rsplit_once('/').filter(|(_, last)| last.starts_with(TRACK)).map(|(mount, _)| mount);
    stated == path || mount.is_some_and(|mount| stated == mount.trim_end_matches('/'))
}

/// In a time that does not tell how much of both is the same.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
}

/// The value of `name=value` or `name="value"` in a list with commas.
fn parameter(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, others) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, others) = quoted.split_once('"')?;
                (value, others)
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim_matches([' ', ',', '\t']).eq_ignore_ascii_case(name) {
            return Some(value.trim().into());
        }
        rest = others;
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by another program (Python's hashlib).
    const RESPONSE: &str = "451a8bed261b08b823c45401666dfd67";

    #[test]
    fn who_knows_the_password_is_admitted_once_to_what_was_asked_for() {
        let owner = Credentials { user: "ann".into(), password: "s3cret".into() };
        let uri = Url::parse("rtsp://192.0.2.1:8554/hall").unwrap();
        let header = |response: &str, user: &str, uri: &str| {
            format!(
                "Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"n0\", uri=\"{uri}\", response=\"{response}\""
            )
        };
        let good = header(RESPONSE, "ann", uri.as_str());
        assert!(owner.admit("n0", "DESCRIBE", Some(&uri), &good));
        assert!(owner.admit("n0", "DESCRIBE", Some(&uri), &good.replace(", ", ",")));
        for (nonce, method, header) in [
            ("n1", "DESCRIBE", good.clone()),
            ("n0", "SETUP", good.clone()),
            ("n0", "DESCRIBE", header(RESPONSE, "bob", uri.as_str())),
            ("n0", "DESCRIBE", header(RESPONSE, "ann", "rtsp://192.0.2.1:8554/vault")),
            ("n0", "DESCRIBE", header("", "ann", uri.as_str())),
            ("n0", "DESCRIBE", good.replace("Digest", "Basic")),
            ("n0", "DESCRIBE", String::new()),
        ] {
            assert!(!owner.admit(nonce, method, Some(&uri), &header), "{nonce} {method} {header}");
        }
    }

    #[test]
    fn a_track_may_be_asked_for_by_the_url_of_its_mount() {
        let owner = Credentials { user: "ann".into(), password: "s3cret".into() };
        let track = Url::parse("rtsp://192.0.2.1:8554/hall/trackID=0").unwrap();
        // As VLC sets up: with the `Content-Base` that it was told; and without the `/` behind it.
        for (stated, response) in [
            ("rtsp://192.0.2.1:8554/hall/", "6535d79e47343c86dbdccaca139e1e57"),
            ("rtsp://192.0.2.1:8554/hall", "14b43e46eac1882160a883e4df470e8b"),
        ] {
            let header = format!(
                "Digest username=\"ann\", realm=\"nvenc-bridge\", nonce=\"n0\", uri=\"{stated}\", response=\"{response}\""
            );
            assert!(owner.admit("n0", "SETUP", Some(&track), &header), "{stated}");
            for other in ["rtsp://192.0.2.1:8554/vault/trackID=0", "rtsp://192.0.2.1:8554/hall/north"] {
                assert!(!owner.admit("n0", "SETUP", Some(&Url::parse(other).unwrap()), &header), "{other}");
            }
        }
    }
}
