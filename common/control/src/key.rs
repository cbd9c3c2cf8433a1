//! The installation's key in a file: 32 random octets as 64 hexadecimal digits or in base64; lines that begin with `#` are for
//! people.

use std::io::Write;
use std::path::Path;

use audio::secure::Secret;
use proto::srtp::{Direction, FileKey, Id, Suite};

/// What a key file begins with.
const HEAD: &str = "\
# The key of a sound installation: whoever has it can listen, and play to every speaker.
# Copy it to every computer that takes part; no one else needs it.
";

/// A key, and what is wrong with its file's permissions, if anything.
#[derive(Debug)]
pub struct Loaded {
    /// The key.
    pub key: FileKey,
    /// One line for the user.
    pub warning: Option<String>,
}

/// Reads a key file.
///
/// # Errors
/// One line that says what to do.
pub fn load(path: &Path) -> Result<Loaded, String> {
    let refuse = |reason: &str| format!("--key {}: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error.to_string()))?;
    let key = parse(&text).ok_or_else(|| {
        refuse("it takes 64 hexadecimal digits, or 32 octets in base64; `keygen FILE` makes such a file")
    })?;
    let warning = is_open(path).then(|| {
        let path = path.display();
        format!("--key {path}: other users of this computer can read it; `chmod 600 {path}` keeps it private")
    });
    Ok(Loaded { key, warning })
}

/// A key with a fresh id, for one run of a program.
///
/// # Errors
/// One line: the system has no random numbers.
pub fn secret(key: FileKey) -> Result<Secret, String> {
    let mut id = Id::default();
    os::random::secret(&mut id.0).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(Secret { key, id })
}

/// Makes a key file that only its owner can read. One that is there stays as it is.
///
/// # Errors
/// One line that says what to do.
pub fn generate(path: &Path) -> Result<(), String> {
    let refuse = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already; remove it first if no computer uses it any more", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    };
    let mut key = [0; 32];
    os::random::secret(&mut key).map_err(refuse)?;
    let mut file = private().create_new(true).open(path).map_err(refuse)?;
    file.write_all(format!("{HEAD}{}\n", hex(&key)).as_bytes()).map_err(refuse)
}

/// How a file is opened for writing that no other user may read.
pub fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A sender's id and name in one word, from which strangers' keys can be made.
pub fn stream_name(id: Id, cname: &str) -> String {
    format!("{}-{cname}", hex(&id.0))
}

/// The line of an SDP that gives a stranger the key of a sender's streams (RFC 4568, RFC 7714).
///
/// # Errors
/// One line: `stream` is not what a sender says of itself.
pub fn crypto_line(key: &FileKey, stream: &str) -> Result<String, String> {
    let named = stream.split_once('-').and_then(|(digits, cname)| Some((unhex(digits)?, cname)));
    let (id, cname) =
        named.ok_or_else(|| format!("`{stream}` is no stream; a sender with --key prints its own"))?;
    let master = key.master(Suite::Aes128, Id(id), Direction::FromSender, cname.as_bytes());
    let (octets, length) = master.inline();
    Ok(format!("a=crypto:1 AEAD_AES_128_GCM inline:{}", base64(&octets[..length])))
}

fn parse(text: &str) -> Option<FileKey> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let word: String = lines.flat_map(str::split_whitespace).collect();
    unhex(&word).or_else(|| unbase64(&word)?.try_into().ok()).map(FileKey)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let pairs = digits.filter(|digits| digits.len() == 2 * N)?;
    let octets: Vec<u8> = pairs.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    octets.try_into().ok()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, section 4.
fn base64(octets: &[u8]) -> String {
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes();
    let (mut octets, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
        }
    }
    Some(octets)
}

/// Whether other users may read a file.
#[cfg(unix)]
pub fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// Whether other users may read a file: not known here.
#[cfg(not(unix))]
pub fn is_open(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_read_as_digits_and_as_base64() {
        let digits = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
        let key = FileKey(std::array::from_fn(|n| n as u8));
        assert_eq!(parse(&format!("# mine\n{digits}\n")), Some(key.clone()));
        assert_eq!(parse(&format!("{}\n  {}", &digits[..32], &digits[32..])), Some(key.clone()));
        assert_eq!(parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n# mine"), Some(key));
        for wrong in ["", "# only\n", &digits[1..], "AAECAwQF", "zz"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_was_made_is_private_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sound.key");
        generate(&path).unwrap();
        let first = load(&path).unwrap();
        assert_eq!(first.warning, None);
        assert!(generate(&path).unwrap_err().contains("is there already"));
        let second = folder.path().join("other.key");
        generate(&second).unwrap();
        assert_ne!(load(&second).unwrap().key, first.key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(load(&path).unwrap().warning.unwrap().contains("chmod 600"));
        }
    }

    #[test]
    fn strangers_get_the_key_of_one_sender_only() {
        let key = FileKey([7; 32]);
        let line = |id, cname| crypto_line(&key, &stream_name(Id([id; 16]), cname)).unwrap();
        let inline = line(1, "a-b@sender");
        let encoded = inline.strip_prefix("a=crypto:1 AEAD_AES_128_GCM inline:").unwrap();
        assert_eq!(unbase64(encoded).unwrap().len(), 28);
        assert!(inline != line(2, "a-b@sender") && inline != line(1, "c@sender"));
        assert!(crypto_line(&key, "00-a").unwrap_err().contains("is no stream"));
    }

    proptest! {
        #[test]
        fn base64_both_ways(octets in prop::collection::vec(any::<u8>(), 0..50)) {
            let text = base64(&octets);
            prop_assert_eq!(text.len() % 4, 0);
            prop_assert_eq!(unbase64(&text), Some(octets));
        }
    }
}
