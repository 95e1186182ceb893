//! The configuration file: one TOML file, a table per tool, unknown keys refused with their line.
//!
//! A tool reads its own table and no other; of the others only the names are checked. Precedence in every
//! tool: flag, then environment, then this file, then the default.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::{Exit, Failure, paths};

/// The tables that the file may have.
pub const TABLES: [&str; 5] = ["supervise", "sandbox", "btmsg", "checkpoint", "relay"];

/// The largest file, in bytes.
const LONGEST: u64 = 1 << 20;

/// Why the configuration was refused. Always exit 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `AGOR_CONFIG` or `--config` names a file that cannot be read.
    #[error("read configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The text is not what it should be.
    #[error("configuration {}:{line}: {why}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
}

impl Failure for ConfigError {
    fn exit(&self) -> Exit {
        Exit::CONFIG
    }
}

/// A tool's table and where it came from.
#[derive(Debug, Clone, Default)]
pub struct Loaded<T> {
    /// The table, or its default where there was none.
    pub value: T,
    /// The file that was read, if any.
    pub path: Option<PathBuf>,
}

/// Loads table `table` (one of [`TABLES`]) from the first configuration file that exists, or from `file`.
///
/// `T` should carry `#[serde(deny_unknown_fields, default)]`.
pub fn load<T: DeserializeOwned + Default>(
    table: &'static str,
    file: Option<&Path>,
) -> Result<Loaded<T>, ConfigError> {
    match find(file, &paths::Env::current())? {
        Some((path, text)) => Ok(Loaded { value: parse(&text, table, &path)?, path: Some(path) }),
        None => Ok(Loaded::default()),
    }
}

/// The first configuration file that exists, or `file`, and its text.
pub fn find(file: Option<&Path>, env: &paths::Env) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let (candidates, must_exist) = match file {
        Some(file) => (vec![file.to_path_buf()], true),
        None => env.config_candidates(),
    };
    for path in candidates {
        match read(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {}
            Err(source) => return Err(ConfigError::Read { path, source }),
        }
    }
    Ok(None)
}

/// The text of a file, which may be a pipe; a device without an end is not read for ever.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {LONGEST} bytes")));
    }
    Ok(text)
}

/// Parses `text` and returns table `table`; `path` is for messages.
pub fn parse<T: DeserializeOwned + Default>(
    text: &str,
    table: &'static str,
    path: &Path,
) -> Result<T, ConfigError> {
    let deserializer = toml::Deserializer::parse(text).map_err(|error| refused(text, path, &error))?;
    deserializer
        .deserialize_map(OneTable { table, value: std::marker::PhantomData::<T> })
        .map_err(|error| refused(text, path, &error))
}

fn refused(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    ConfigError::Parse { path: path.into(), line, why: error.message().replace('\n', "; ") }
}

struct OneTable<T> {
    table: &'static str,
    value: std::marker::PhantomData<T>,
}

struct TableName;

impl<'de> DeserializeSeed<'de> for TableName {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for TableName {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        if TABLES.contains(&name) { Ok(name.to_owned()) } else { Err(E::unknown_field(name, &TABLES)) }
    }
}

impl<'de, T: DeserializeOwned + Default> Visitor<'de> for OneTable<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table for each tool")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut found = T::default();
        while let Some(name) = map.next_key_seed(TableName)? {
            if name == self.table {
                found = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Relay {
        port: u16,
        name: String,
    }

    fn parse_relay(text: &str) -> Result<Relay, String> {
        parse(text, "relay", Path::new("agor.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_its_own_table_only() {
        let relay = parse_relay("[sandbox]\nwhatever = 1\n[relay]\nport = 9\n").unwrap();
        assert_eq!(relay.port, 9);
        assert_eq!(parse_relay("").unwrap(), Relay::default());
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = load::<Relay>("relay", Some(Path::new("/dev/zero"))).unwrap_err();
        assert_eq!(error.exit(), Exit::CONFIG);
        assert!(error.to_string().starts_with("read configuration /dev/zero"), "{error}");
        assert_eq!(load::<Relay>("relay", Some(Path::new("/dev/null"))).unwrap().value, Relay::default());
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let error = parse_relay("# c\n[relay]\nport = 9\nprot = 1\n").unwrap_err();
        assert!(error.starts_with("configuration agor.toml:4: unknown field `prot`"), "{error}");
        let error = parse_relay("\n\n[relais]\n").unwrap_err();
        assert!(error.starts_with("configuration agor.toml:3: unknown field `relais`"), "{error}");
        let error = parse_relay("[relay]\nport = 'x'\n").unwrap_err();
        assert!(error.starts_with("configuration agor.toml:2: "), "{error}");
        let error = parse_relay("[relay\n").unwrap_err();
        assert!(error.starts_with("configuration agor.toml:1: "), "{error}");
    }
}
