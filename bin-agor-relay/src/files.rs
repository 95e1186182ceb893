//! Files that are there whole or not at all.

use std::fs::Permissions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

/// A file that is written and has no name yet; dropped, it was never there.
#[derive(Debug)]
pub(crate) struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// `text`, on the disk, for `path`.
    pub(crate) fn new(path: &Path, text: &str, mode: u32) -> Result<Draft, Error> {
        let fail = |source| Error::Write { path: path.into(), source };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The error would name a file that nobody has heard of.
        let mut file = NamedTempFile::new_in(dir).map_err(|error| fail(error.kind().into()))?;
        file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(fail)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        Ok(Draft { file, path: path.into() })
    }

    /// Gives it its name; a file of that name is an error, or (`replace`) gone.
    pub(crate) fn put(self, replace: bool) -> Result<(), Error> {
        let Draft { file, path } = self;
        let put = if replace { file.persist(&path) } else { file.persist_noclobber(&path) };
        put.map(drop).map_err(|error| match error.error {
            source if source.kind() == ErrorKind::AlreadyExists => {
                Error::Exists { path, hint: "it is not replaced: choose another name, or remove it first" }
            }
            source => Error::Write { path, source },
        })
    }
}
