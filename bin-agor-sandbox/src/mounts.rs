//! The private mount namespace: protected paths, hidden files, hidden sockets.

use std::path::PathBuf;

use crate::error::Error;
use crate::host::Host;
use crate::plan::Plan;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub path: PathBuf,
}

/// What is to be mounted for `plan`.
pub(crate) fn plan(_plan: &Plan, _host: &Host) -> Result<Vec<Mount>, Error> {
    Ok(Vec::new())
}

/// Enters the namespace; whether other programs' sockets are hidden.
pub(crate) fn apply(_plan: &Plan, _host: &Host, _status: &mut crate::status::Status) -> Result<bool, Error> {
    Ok(false)
}
