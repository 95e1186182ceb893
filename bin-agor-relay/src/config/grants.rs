//! Which tokens are let in, and where the relay's own comes from.

use std::path::{Path, PathBuf};

use agor_common::{output, time};

use super::table::Table;
use super::variable;
use crate::cli::{Serve, TokenSource};
use crate::error::Error;
use crate::token::{Grant, Hash, Scope, Secret};
use crate::{TOOL, sys};

/// Every token that is let in: that of the command line or environment, and those of the tables. `before` is what
/// was let in until now, if anything was.
pub(super) fn grants(serve: &Serve, table: &Table, before: &[Grant]) -> Result<Vec<Grant>, Error> {
    let mut grants = Vec::new();
    let file = token_file(&serve.token).or_else(|| table.token_file.clone());
    // A descriptor and stdin give their token once; by the time of a reload the number may be that of a
    // descriptor of ours.
    let once = serve.token.token.is_none()
        && (serve.token.token_fd.is_some() || file.as_deref() == Some(Path::new("-")));
    let hash = match before.first().filter(|_| once) {
        Some(main) => Some(main.hash),
        None => secret(&serve.token, file)?.map(|secret| secret.hash()),
    };
    if let Some(hash) = hash {
        let scope = if serve.allow_exec || table.allow_exec { Scope::Exec } else { Scope::Start };
        grants.push(Grant { name: "main".into(), hash, scope, sessions: None, expires: None });
    }
    for (name, token) in &table.token {
        let hash = Hash::parse(&token.hash).ok_or_else(|| {
            Error::setup(
                format!("relay.token.{name}: hash is not sha256: and 64 hexadecimal digits"),
                "agor-relay token hash prints it",
            )
        })?;
        let expires = match &token.expires {
            None => None,
            Some(text) => Some(time::parse_ms(text).ok_or_else(|| {
                Error::setup(format!("relay.token.{name}: expires = \"{text}\" is not an RFC 3339 time"), "")
            })?),
        };
        grants.push(Grant {
            name: name.clone(),
            hash,
            scope: token.scope,
            sessions: token.sessions.clone(),
            expires,
        });
    }
    if grants.is_empty() {
        return Err(Error::setup(
            "there is no token to authenticate with",
            "agor-relay token new --out FILE, then --token-file FILE (or [relay.token.NAME] in the configuration)",
        ));
    }
    Ok(grants)
}

/// The token file that the command line or the environment names.
pub(crate) fn token_file(source: &TokenSource) -> Option<PathBuf> {
    source.token_file.clone().or_else(|| variable("AGOR_RELAY_TOKEN_FILE").map(PathBuf::from))
}

/// The token from the first source that has one.
pub(crate) fn secret(source: &TokenSource, file: Option<PathBuf>) -> Result<Option<Secret>, Error> {
    if let Some(text) = &source.token {
        output::warning(TOOL, "--token shows in ps and in the shell's history; use --token-file");
        return Secret::parse(text, "--token").map(Some);
    }
    if let Some(fd) = source.token_fd {
        let text = sys::fds::read_inherited(fd)
            .map_err(|source| Error::Io { what: "read the token descriptor", source })?;
        return Secret::parse(&text, &format!("descriptor {fd}")).map(Some);
    }
    if let Some(file) = file {
        return Secret::from_file(&file).map(Some);
    }
    if let Some(dir) = variable("CREDENTIALS_DIRECTORY") {
        for name in ["agor-relay-token", "token"] {
            let path = PathBuf::from(&dir).join(name);
            if path.is_file() {
                return Secret::from_file(&path).map(Some);
            }
        }
    }
    match std::env::var("AGOR_RELAY_TOKEN") {
        Ok(text) => Secret::parse(&text, "AGOR_RELAY_TOKEN").map(Some),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::setup("refuse the token from AGOR_RELAY_TOKEN: it is not text", ""))
        }
    }
}
