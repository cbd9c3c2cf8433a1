//! Who is let in.

use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};

/// Why somebody is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The token is missing, or another one.
    Token,
    /// The request names another computer, or comes from a page of another site.
    Elsewhere,
}

/// Looks at a request's headers.
///
/// Without a token everything depends on the asker being a program of this computer. A browser here is one, too, and does what
/// pages of any site tell it: those name themselves as the origin, or have their own name lead here (DNS rebinding).
pub(super) fn admit(token: Option<&str>, headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(token) = token {
        let brought = text(AUTHORIZATION).and_then(|value| {
            let (scheme, word) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| word.trim())
        });
        let same = brought.is_some_and(|brought| is_same(brought.as_bytes(), token.as_bytes()));
        return if same { Ok(()) } else { Err(Refused::Token) };
    }
    let origin = text(ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    let here = [text(HOST), origin].into_iter().flatten().all(is_here);
    if here { Ok(()) } else { Err(Refused::Elsewhere) }
}

/// Whether a name, perhaps with a port, is this computer's own.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Compares in a time that does not tell where they differ.
fn is_same(brought: &[u8], token: &[u8]) -> bool {
    let differences = brought.iter().zip(token).fold(0, |differences, (a, b)| differences | (a ^ b));
    brought.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(token: Option<&str>, headers: &[(&'static str, &str)]) -> Result<(), Refused> {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), value.parse().unwrap_or_else(|_| panic!("{value}")))
        });
        admit(token, &headers.collect())
    }

    #[test]
    fn without_a_token_only_this_computer_is_answered() {
        for host in ["localhost", "LocalHost:80", "127.0.0.1:8080", "127.9.9.9", "[::1]:80", "[::1]"] {
            assert_eq!(asked(None, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "192.0.2.1:80", "[2001:db8::1]", "localhost.evil.example", "", "[", "é"]
        {
            assert_eq!(asked(None, &[("host", host)]), Err(Refused::Elsewhere), "{host}");
        }
        let of = |origin| asked(None, &[("host", "localhost"), ("origin", origin)]);
        assert_eq!(of("http://localhost:8080"), Ok(()));
        for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
            assert_eq!(of(origin), Err(Refused::Elsewhere), "{origin}");
        }
    }

    #[test]
    fn with_a_token_only_the_token_counts() {
        let token = Some("0123456789abcdef");
        let with = |value| asked(token, &[("host", "192.0.2.1"), ("authorization", value)]);
        assert_eq!(with("Bearer 0123456789abcdef"), Ok(()));
        assert_eq!(with("bearer 0123456789abcdef "), Ok(()));
        for wrong in
            ["Bearer 0123456789abcdeg", "Bearer 0123456789abcde", "Bearer", "Basic 0123456789abcdef", ""]
        {
            assert_eq!(with(wrong), Err(Refused::Token), "{wrong}");
        }
        assert_eq!(asked(token, &[("host", "localhost")]), Err(Refused::Token));
    }
}
