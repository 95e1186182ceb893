//! Bearer tokens: made, loaded, hashed, compared. A token's text never leaves this module except inside a
//! [`Secret`], whose `Debug` shows nothing and whose memory is wiped.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use agor_common::time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::Error;

/// A shorter token is refused: 16 bytes.
const MIN_BYTES: usize = 16;
/// A longer one is refused, so that a wrong file is not read whole.
const MAX_BYTES: usize = 4096;

/// A token's text.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new token: `agor_` and 256 random bits.
    pub(crate) fn generate() -> Result<Secret, Error> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        let mut file = std::fs::File::open("/dev/urandom")
            .map_err(|source| Error::Io { what: "open /dev/urandom", source })?;
        file.read_exact(&mut *bytes).map_err(|source| Error::Io { what: "read /dev/urandom", source })?;
        Ok(Secret(Zeroizing::new(format!("agor_{}", URL_SAFE_NO_PAD.encode(*bytes)))))
    }

    /// Checks what a file, variable or descriptor held; whitespace around it (a final newline, CRLF) is
    /// not part of the token. `origin` names the source in messages.
    pub(crate) fn parse(text: &str, origin: &str) -> Result<Secret, Error> {
        let token = text.trim();
        let why = if token.is_empty() {
            "it is blank".to_owned()
        } else if token.len() < MIN_BYTES {
            format!("it is shorter than {MIN_BYTES} bytes")
        } else if token.len() > MAX_BYTES {
            format!("it is longer than {MAX_BYTES} bytes")
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            "it holds a blank, a control character or non-ASCII text".to_owned()
        } else {
            return Ok(Secret(Zeroizing::new(token.to_owned())));
        };
        Err(Error::setup(
            format!("refuse the token from {origin}: {why}"),
            "agor-relay token new makes a good one",
        ))
    }

    /// Reads a token file; `-` is stdin.
    pub(crate) fn from_file(path: &Path) -> Result<Secret, Error> {
        let mut text = Zeroizing::new(String::new());
        let result = if path == Path::new("-") {
            std::io::stdin().lock().take(MAX_BYTES as u64 * 2).read_to_string(&mut text)
        } else {
            warn_if_readable(path, "token file");
            std::fs::File::open(path)
                .and_then(|file| file.take(MAX_BYTES as u64 * 2).read_to_string(&mut text))
        };
        result.map_err(|source| Error::read("token file", path, source))?;
        Secret::parse(&text, &path.display().to_string())
    }

    /// The text, for the one header that carries it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text.
    pub(crate) fn hash(&self) -> Hash {
        Hash(Sha256::digest(self.0.as_bytes()).into())
    }
}

/// Says so when others may read a file that holds a secret.
pub(crate) fn warn_if_readable(path: &Path, what: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Ok(meta) = std::fs::metadata(path)
        && meta.is_file()
        && meta.permissions().mode() & 0o077 != 0
    {
        let mode = meta.permissions().mode() & 0o777;
        agor_common::output::warning(
            crate::TOOL,
            &format!("{what} {} has mode {mode:04o}: others may read it; chmod 600 it", path.display()),
        );
    }
}

/// SHA-256 of a token, as the configuration stores it: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    pub(crate) fn parse(text: &str) -> Option<Hash> {
        let hex = text.strip_prefix("sha256:")?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Hash(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a token may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// See sessions and their output, and health.
    Observe,
    /// Write, signal and stop; mail; frontend events.
    Write,
    /// Start and restart configured sessions.
    Start,
    /// Name a command of its own (with `--allow-exec`).
    Exec,
}

/// One token that the server accepts.
#[derive(Clone)]
pub(crate) struct Grant {
    /// The name in `[relay.token.NAME]`, or `main`.
    pub(crate) name: String,
    pub(crate) hash: Hash,
    pub(crate) scope: Scope,
    /// Sessions it may see; `None` is all.
    pub(crate) sessions: Option<Vec<String>>,
    /// Milliseconds since the epoch.
    pub(crate) expires: Option<i64>,
}

impl Grant {
    pub(crate) fn is_live(&self) -> bool {
        self.expires.is_none_or(|at| time::now_ms() < at)
    }

    pub(crate) fn sees(&self, session: &str) -> bool {
        self.sessions.as_ref().is_none_or(|names| names.iter().any(|name| name == session))
    }

    /// Whether nothing that a live connection relies on differs.
    pub(crate) fn same_as(&self, other: &Grant) -> bool {
        self.hash == other.hash
            && self.scope == other.scope
            && self.sessions == other.sessions
            && self.expires == other.expires
    }
}

/// Finds the live grant for a presented token: every hash is compared, each in constant time, so that
/// neither the number nor the order of tokens shows in the time that a refusal takes.
pub(crate) fn check<'a>(grants: &'a [Grant], presented: &[u8]) -> Option<&'a Grant> {
    let hash: [u8; 32] = Sha256::digest(presented).into();
    let mut found = None;
    for grant in grants {
        if bool::from(grant.hash.0.ct_eq(&hash)) && grant.is_live() {
            found = Some(grant);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_and_short_tokens_are_refused_and_newlines_are_not_part_of_them() {
        for bad in ["", " \n", "short", "fifteen-bytes-x", "with blank inside it", "ümlaut-ümlaut-ümlaut"]
        {
            assert!(Secret::parse(bad, "test").is_err(), "{bad:?}");
        }
        let bare = Secret::parse("0123456789abcdef", "test").unwrap();
        let crlf = Secret::parse("0123456789abcdef\r\n", "test").unwrap();
        assert!(bare.hash() == crlf.hash());
        assert_eq!(format!("{bare:?}"), "Secret(…)");
    }

    #[test]
    fn hashes_round_trip_and_check_finds_only_live_grants() {
        let token = Secret::generate().unwrap();
        assert!(token.expose().len() > 40);
        let hash = Hash::parse(&token.hash().to_string()).unwrap();
        assert!(hash == token.hash());
        assert!(Hash::parse("sha256:zz").is_none());
        let mut grant =
            Grant { name: "a".into(), hash, scope: Scope::Observe, sessions: None, expires: None };
        assert!(check(std::slice::from_ref(&grant), token.expose().as_bytes()).is_some());
        assert!(check(std::slice::from_ref(&grant), b"something-else-entirely").is_none());
        grant.expires = Some(time::now_ms() - 1);
        assert!(check(&[grant], token.expose().as_bytes()).is_none());
    }

    #[test]
    fn scopes_are_ordered() {
        assert!(Scope::Exec > Scope::Start && Scope::Start > Scope::Write && Scope::Write > Scope::Observe);
    }
}
