//! What the policy needs to know about where it runs: directories and identity, and nothing that it grants.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use agor_common::paths;

/// Whether `path` is `root` or lies below it. Both are absolute and [`tidy`]: `Path::starts_with` takes paths
/// apart, which was half of what a start of this program computed.
pub(crate) fn within(path: &Path, root: &Path) -> bool {
    let (path, root) = (path.as_os_str().as_bytes(), root.as_os_str().as_bytes());
    match path.strip_prefix(root) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || root == b"/",
        None => false,
    }
}

/// The path without `.`, doubled and trailing slashes.
pub(crate) fn tidy(path: PathBuf) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let untidy = bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.")
        || bytes.first() == Some(&b'.')
        || (bytes.len() > 1 && bytes.ends_with(b"/"));
    // `components` drops `.` and repeated or trailing slashes. `/.` may begin a name too: then nothing changes.
    if untidy { path.components().filter(|part| *part != Component::CurDir).collect() } else { path }
}

/// The environment of a run; a value, so that tests can make one up.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Working directory; `None` when it is gone.
    pub cwd: Option<PathBuf>,
    /// `HOME`, when it is absolute.
    pub home: Option<PathBuf>,
    /// `TMPDIR` when it is absolute and there, else `/tmp`.
    pub temp: PathBuf,
    /// The absolute directories of `PATH`.
    pub path: Vec<PathBuf>,
    /// The agor data directory.
    pub data: Option<PathBuf>,
    /// The agor runtime directory.
    pub runtime: Option<PathBuf>,
    /// Effective user.
    pub euid: u32,
    /// `CLAUDE_CONFIG_DIR`, `CODEX_HOME`: where an agent's configuration was moved to.
    pub agent_home: Vec<(&'static str, PathBuf)>,
}

impl Host {
    /// From this process.
    pub fn current() -> Host {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute()).map(tidy)
        };
        let env = paths::Env::current();
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let mut dirs: Vec<PathBuf> = Vec::new();
        for dir in std::env::split_paths(&path).filter(|dir| dir.is_absolute()) {
            let dir = tidy(dir);
            if !dirs.iter().any(|known| known.as_os_str() == dir.as_os_str()) {
                dirs.push(dir);
            }
        }
        Host {
            cwd: std::env::current_dir().ok(),
            home: absolute("HOME"),
            temp: absolute("TMPDIR").filter(|dir| dir.is_dir()).unwrap_or_else(|| PathBuf::from("/tmp")),
            path: dirs,
            data: env.data_dir().ok().map(tidy),
            runtime: env.runtime_dir().ok().map(tidy),
            euid: rustix::process::geteuid().as_raw(),
            agent_home: ["CLAUDE_CONFIG_DIR", "CODEX_HOME"]
                .into_iter()
                .filter_map(|name| Some((name, absolute(name)?)))
                .collect(),
        }
    }

    /// A path as written in an option or a profile: `~` and `~/x` are the home directory's, a relative one
    /// the working directory's. `.` and doubled slashes go; `..` stays, since only the kernel may follow it.
    pub fn expand(&self, path: &Path) -> PathBuf {
        let bytes = path.as_os_str().as_bytes();
        let path = match (&self.home, bytes) {
            (Some(home), b"~") => home.clone(),
            (Some(home), [b'~', b'/', ..]) => home.join(path.strip_prefix("~").unwrap_or(path)),
            _ => path.to_path_buf(),
        };
        let path = match &self.cwd {
            Some(cwd) if path.is_relative() => cwd.join(path),
            _ => path,
        };
        tidy(path)
    }

    /// A path of a profile, with an agent's configuration directory where its own variable moved it.
    pub fn agent_path(&self, path: &str) -> PathBuf {
        for (variable, default) in [("CLAUDE_CONFIG_DIR", "~/.claude"), ("CODEX_HOME", "~/.codex")] {
            let rest = match path.strip_prefix(default) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
                _ => continue,
            };
            if let Some((_, moved)) = self.agent_home.iter().find(|(name, _)| *name == variable) {
                return if rest.is_empty() { moved.clone() } else { moved.join(rest) };
            }
        }
        PathBuf::from(path)
    }

    /// Whether `dir` is the home directory or one above it: granting it would grant every secret.
    pub fn holds_home(&self, dir: &Path) -> bool {
        dir.as_os_str() == "/" || self.home.as_ref().is_some_and(|home| within(home, dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_is_what_starts_with_is() {
        let paths = ["/", "/a", "/a/b", "/ab", "/a/b/c", "/b", "/a/.b"].map(Path::new);
        for path in paths {
            for root in paths {
                assert_eq!(within(path, root), path.starts_with(root), "{path:?} {root:?}");
            }
        }
        for (given, want) in
            [("/a//b/", "/a/b"), ("/./a/.", "/a"), ("/a/.b", "/a/.b"), ("/", "/"), ("//", "/"), ("./a", "a")]
        {
            assert_eq!(tidy(PathBuf::from(given)).as_os_str(), want);
        }
    }

    #[test]
    fn paths_are_expanded_as_a_shell_would() {
        let host = Host { cwd: Some("/w".into()), home: Some("/h".into()), ..Host::default() };
        for (given, want) in [
            ("~", "/h"),
            ("~/a", "/h/a"),
            ("~a", "/w/~a"),
            (".", "/w"),
            ("./a//b/.", "/w/a/b"),
            ("../x", "/w/../x"),
            ("/a/", "/a"),
            ("--rw", "/w/--rw"),
        ] {
            assert_eq!(host.expand(Path::new(given)), Path::new(want), "{given}");
        }
        assert!(host.holds_home(Path::new("/h")));
        assert!(host.holds_home(Path::new("/")));
        assert!(!host.holds_home(Path::new("/h/p")));
        assert!(!host.holds_home(Path::new("/hh")));
    }
}
