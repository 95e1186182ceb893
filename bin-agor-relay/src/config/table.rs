//! The tables as they stand in the configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::cli::Alone;
use crate::token::Scope;

/// `[relay]` as it stands in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Table {
    pub(super) port: Option<u16>,
    pub(super) listen: Option<String>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) tls_min: Option<String>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) allow_origin: Vec<String>,
    pub(super) allow_exec: bool,
    pub(super) alone: Option<Alone>,
    pub(super) alone_after: Option<String>,
    pub(super) ring: Option<String>,
    pub(super) spill: Option<String>,
    pub(super) hold: Option<String>,
    pub(super) stall: Option<String>,
    pub(super) handshake_timeout: Option<String>,
    pub(super) max_message: Option<String>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_pending: Option<usize>,
    pub(super) max_sessions: Option<usize>,
    pub(super) write_buffer: Option<String>,
    pub(super) write_timeout: Option<String>,
    pub(super) ping: Option<String>,
    pub(super) max_failures: Option<u32>,
    pub(super) lockout: Option<String>,
    pub(super) drain: Option<String>,
    pub(super) session: BTreeMap<String, SessionTable>,
    pub(super) token: BTreeMap<String, TokenTable>,
}

/// `[relay.session.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionTable {
    pub(super) command: Vec<String>,
    pub(super) cwd: Option<PathBuf>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// `true`, or the policy for agor-supervise's `--restart`.
    #[serde(default)]
    pub(super) restart: Restart,
    /// Further agor-supervise options.
    #[serde(default)]
    pub(super) supervise: Vec<String>,
    pub(super) sandbox: Option<SandboxTable>,
    #[serde(default)]
    pub(super) pty: bool,
    /// Start with the relay instead of at the first request.
    #[serde(default)]
    pub(super) autostart: bool,
    pub(super) alone: Option<Alone>,
    pub(super) alone_after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Restart {
    #[default]
    Unset,
    Switch(bool),
    Policy(String),
}

/// `[relay.session.NAME.sandbox]`: what `agor-sandbox` gets.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SandboxTable {
    pub(super) profile: Option<String>,
    pub(super) rw: Vec<String>,
    pub(super) rwx: Vec<String>,
    pub(super) ro: Vec<String>,
    pub(super) rox: Vec<String>,
    pub(super) net: Option<String>,
    pub(super) require: bool,
    /// Further options, as they are.
    pub(super) options: Vec<String>,
}

/// `[relay.token.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenTable {
    pub(super) hash: String,
    pub(super) scope: Scope,
    pub(super) sessions: Option<Vec<String>>,
    pub(super) expires: Option<String>,
}
