//! Where data, runtime files and configuration live.
//!
//! Sources: the XDG Base Directory Specification (a relative `XDG_*` value is ignored), and
//! `AGOR_DATA_DIR` and `AGOR_CONFIG`, which win over it.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::{Exit, Failure};

/// Why a directory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Neither `AGOR_DATA_DIR`, `XDG_DATA_HOME` nor `HOME` says where data belongs.
    #[error("find the data directory: none of AGOR_DATA_DIR, XDG_DATA_HOME and HOME is set")]
    NoHome,
    /// Creating it failed.
    #[error("create directory {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is there, and is not a directory of this user's.
    #[error("use directory {}: {why}", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Failure for PathError {
    fn exit(&self) -> Exit {
        match self {
            PathError::NoHome => Exit::CONFIG,
            PathError::Create { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::PERMISSION,
                io::ErrorKind::StorageFull => Exit::IO,
                _ => Exit::CANT_CREATE,
            },
            PathError::Unsafe { .. } => Exit::PERMISSION,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PathError::NoHome => Some("set AGOR_DATA_DIR to a directory of your own".into()),
            _ => None,
        }
    }
}

/// The environment as far as paths depend on it; a value of its own so that tests need not set variables.
#[derive(Debug, Default, Clone)]
pub struct Env {
    /// `AGOR_DATA_DIR`
    pub agor_data_dir: Option<OsString>,
    /// `AGOR_CONFIG`
    pub agor_config: Option<OsString>,
    /// `XDG_DATA_HOME`
    pub xdg_data_home: Option<OsString>,
    /// `XDG_RUNTIME_DIR`
    pub xdg_runtime_dir: Option<OsString>,
    /// `XDG_CONFIG_HOME`
    pub xdg_config_home: Option<OsString>,
    /// `HOME`, else the user database's
    pub home: Option<OsString>,
}

impl Env {
    /// From this process's environment.
    pub fn current() -> Env {
        Env::from_variables(|name| std::env::var_os(name))
    }

    /// From variables that somebody has at hand already. An empty one counts as not set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Env {
        let get = |name| variable(name).filter(|value| !value.is_empty());
        Env {
            agor_data_dir: get("AGOR_DATA_DIR"),
            agor_config: get("AGOR_CONFIG"),
            xdg_data_home: get("XDG_DATA_HOME"),
            xdg_runtime_dir: get("XDG_RUNTIME_DIR"),
            xdg_config_home: get("XDG_CONFIG_HOME"),
            // Under cron and in some units HOME is not set; the user database knows it too.
            home: get("HOME").or_else(|| std::env::home_dir().map(PathBuf::into_os_string)),
        }
    }

    fn xdg(value: Option<&OsString>) -> Option<PathBuf> {
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn home(&self) -> Option<PathBuf> {
        Env::xdg(self.home.as_ref())
    }

    /// `$AGOR_DATA_DIR`, else `$XDG_DATA_HOME/agor`, else `~/.local/share/agor`. Not created. A relative
    /// `AGOR_DATA_DIR` is taken from the working directory.
    pub fn data_dir(&self) -> Result<PathBuf, PathError> {
        if let Some(dir) = &self.agor_data_dir {
            let dir = PathBuf::from(dir);
            return Ok(std::path::absolute(&dir).unwrap_or(dir));
        }
        if let Some(base) = Env::xdg(self.xdg_data_home.as_ref()) {
            return Ok(base.join("agor"));
        }
        self.home().map(|home| home.join(".local/share/agor")).ok_or(PathError::NoHome)
    }

    /// `$XDG_RUNTIME_DIR/agor`, else `<data>/run`. Not created. With `AGOR_DATA_DIR` set it is always
    /// `<data>/run`, so that two data directories never share control FIFOs or wake files.
    pub fn runtime_dir(&self) -> Result<PathBuf, PathError> {
        if self.agor_data_dir.is_none()
            && let Some(base) = Env::xdg(self.xdg_runtime_dir.as_ref())
        {
            return Ok(base.join("agor"));
        }
        Ok(self.data_dir()?.join("run"))
    }

    /// The configuration files in question, first match wins: `$AGOR_CONFIG` alone when it is set (and it
    /// must then exist), else `$XDG_CONFIG_HOME/agor/agor.toml` (or below `~/.config`), else
    /// `/etc/agor/agor.toml`.
    pub fn config_candidates(&self) -> (Vec<PathBuf>, bool) {
        if let Some(file) = &self.agor_config {
            return (vec![PathBuf::from(file)], true);
        }
        let user =
            Env::xdg(self.xdg_config_home.as_ref()).or_else(|| self.home().map(|home| home.join(".config")));
        let mut files: Vec<PathBuf> = user.into_iter().map(|dir| dir.join("agor/agor.toml")).collect();
        files.push(PathBuf::from("/etc/agor/agor.toml"));
        (files, false)
    }
}

/// The data directory, made with mode 0700 where it was missing.
pub fn data_dir() -> Result<PathBuf, PathError> {
    let dir = Env::current().data_dir()?;
    ensure_private_dir(&dir)?;
    Ok(dir)
}

/// The runtime directory, made with mode 0700 where it was missing.
pub fn runtime_dir() -> Result<PathBuf, PathError> {
    let dir = Env::current().runtime_dir()?;
    ensure_private_dir(&dir)?;
    Ok(dir)
}

/// `sessions.db` in the data directory (which is not created).
pub fn sessions_db() -> Result<PathBuf, PathError> {
    Ok(Env::current().data_dir()?.join("sessions.db"))
}

/// `btmsg.db` in the data directory (which is not created).
pub fn mail_db() -> Result<PathBuf, PathError> {
    Ok(Env::current().data_dir()?.join("btmsg.db"))
}

/// Makes `dir` and its parents, mode 0700; an existing one must belong to this user (or to root) and must
/// not be writable by others.
pub fn ensure_private_dir(dir: &Path) -> Result<(), PathError> {
    match std::fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => Err(PathError::Unsafe { path: dir.into(), why: "not a directory" }),
        Ok(meta) => {
            let me = rustix::process::geteuid().as_raw();
            if meta.uid() != me && meta.uid() != 0 && me != 0 {
                return Err(PathError::Unsafe { path: dir.into(), why: "it belongs to another user" });
            }
            if meta.permissions().mode() & 0o002 != 0 && meta.permissions().mode() & 0o1000 == 0 {
                return Err(PathError::Unsafe { path: dir.into(), why: "others may write to it" });
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| PathError::Create { path: dir.into(), source }),
        Err(source) => Err(PathError::Create { path: dir.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        let get = |name: &str| pairs.iter().find(|(k, _)| *k == name).map(|(_, v)| OsString::from(v));
        Env {
            agor_data_dir: get("AGOR_DATA_DIR"),
            agor_config: get("AGOR_CONFIG"),
            xdg_data_home: get("XDG_DATA_HOME"),
            xdg_runtime_dir: get("XDG_RUNTIME_DIR"),
            xdg_config_home: get("XDG_CONFIG_HOME"),
            home: get("HOME"),
        }
    }

    #[test]
    fn precedence_of_the_data_directory() {
        let all = env(&[("AGOR_DATA_DIR", "/a"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")]);
        assert_eq!(all.data_dir().unwrap(), Path::new("/a"));
        let xdg = env(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")]);
        assert_eq!(xdg.data_dir().unwrap(), Path::new("/x/agor"));
        let relative = env(&[("XDG_DATA_HOME", "x"), ("HOME", "/h")]);
        assert_eq!(relative.data_dir().unwrap(), Path::new("/h/.local/share/agor"));
        assert!(matches!(env(&[]).data_dir(), Err(PathError::NoHome)));
    }

    #[test]
    fn runtime_directory_follows_the_data_directory_when_that_is_chosen() {
        let chosen = env(&[("AGOR_DATA_DIR", "/a"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        assert_eq!(chosen.runtime_dir().unwrap(), Path::new("/a/run"));
        let usual = env(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        assert_eq!(usual.runtime_dir().unwrap(), Path::new("/run/user/1/agor"));
    }

    #[test]
    fn directories_are_private() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a/b");
        ensure_private_dir(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let file = base.path().join("f");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(ensure_private_dir(&file), Err(PathError::Unsafe { .. })));
    }
}
