//! Configuration files: TOML or JSON, with the names of the command line.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", .path.display())]
pub struct Error {
    path: PathBuf,
    reason: String,
}

/// Reads a file. A name that ends in `.json` is JSON, any other TOML. Unknown keys are for `T` to refuse.
///
/// # Errors
/// The file's name with the system's reason, or what is wrong with line and column.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let refuse = |reason: String| Error { path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if is_json {
        serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
    } else {
        toml::from_str(&text).map_err(|error| refuse(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        frames: u16,
    }

    #[test]
    fn both_forms_load_and_both_say_where_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        for (name, good, bad) in [
            ("a.toml", "frames = 64\n", "frames = 64\ncolour = 1\n"),
            ("a.json", "{\"frames\": 64}", "{\"frames\": 64,\n\"colour\": 1}"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, good).unwrap();
            assert_eq!(load::<Settings>(&path).unwrap(), Settings { frames: 64 });
            std::fs::write(&path, bad).unwrap();
            let error = load::<Settings>(&path).unwrap_err().to_string();
            assert!(error.contains("colour") && error.contains("line 2"), "{error}");
        }
        let missing = load::<Settings>(&folder.path().join("b.toml")).unwrap_err();
        assert!(missing.to_string().contains("b.toml"));
    }
}
