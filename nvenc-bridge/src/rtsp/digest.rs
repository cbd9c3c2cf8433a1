//! Digest authentication (RFC 2617, without `qop`, in the form that RTSP clients know since RFC 2069).
//!
//! Each connection has a nonce of its own, so that what was overheard on one is worth nothing on another.

use std::fmt::Write;

use md5::{Digest, Md5};
use rtsp_types::Url;

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
        // The same resource, in whichever way it is written.
        let same = uri.is_none_or(|uri| {
            stated == uri.path() || Url::parse(&stated).is_ok_and(|stated| stated.path() == uri.path())
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
}
