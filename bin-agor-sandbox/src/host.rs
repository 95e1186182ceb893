//! What the policy needs to know about where it runs: directories and identity, and nothing that it grants.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use agor_common::paths;

use crate::sys::path;
use crate::sys::variables::Variables;

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
    let mut doubled = false;
    for at in 1..bytes.len() {
        doubled |= bytes[at - 1] == b'/' && (bytes[at] == b'/' || bytes[at] == b'.');
    }
    let untidy = doubled || bytes.first() == Some(&b'.') || (bytes.len() > 1 && bytes.ends_with(b"/"));
    // `components` drops `.` and repeated or trailing slashes. `/.` may begin a name too: then nothing changes.
    if untidy { path.components().filter(|part| *part != Component::CurDir).collect() } else { path }
}

/// The environment of a run; a value, so that tests can make one up.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Working directory; `None` when it is gone.
    pub cwd: Option<PathBuf>,
    /// `HOME`, when it is absolute, else what the user database says.
    pub home: Option<PathBuf>,
    /// The same without links, where that is another path: so the kernel calls it.
    pub real_home: Option<PathBuf>,
    /// `TMPDIR` when it is absolute, there and fit.
    pub temp: Option<PathBuf>,
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
    /// The variables of [`TOOL_HOMES`] that are set.
    pub tool_homes: Vec<(&'static str, PathBuf)>,
    /// What says where data and configuration are.
    pub env: paths::Env,
    /// Variables of directories that are to be granted, which name the home directory or the root: to follow them
    /// would grant every secret.
    pub unfit: Vec<&'static str>,
    /// The environment.
    pub(crate) variables: Variables,
}

/// Where the programs of a tool chain look for the rest of it, when that is not where it usually is.
pub const TOOL_HOMES: [&str; 8] = [
    "CARGO_HOME",
    "RUSTUP_HOME",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "PYENV_ROOT",
    "VOLTA_HOME",
    "BUN_INSTALL",
];

/// The sixth field of the user's line in `/etc/passwd` (passwd(5)).
#[cold]
fn registered_home(user: u32) -> Option<PathBuf> {
    home_in(&std::fs::read("/etc/passwd").ok()?, user)
}

fn home_in(table: &[u8], user: u32) -> Option<PathBuf> {
    let user = user.to_string();
    let home = table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        (fields.next()? == user.as_bytes()).then(|| fields.nth(2)).flatten()
    })?;
    Some(tidy(PathBuf::from(OsStr::from_bytes(home)))).filter(|home| home.is_absolute())
}

/// Whether two names are those of one directory, by links too; what is below the other is taken at its word.
fn is(dir: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let below = other.as_os_str() != "/" && dir.starts_with(other);
    dir.as_os_str() == other.as_os_str()
        || !below && identity(dir).is_some_and(|dir| identity(other) == Some(dir))
}

impl Host {
    /// From this process.
    pub fn current() -> Host {
        let variables = Variables::current();
        let absolute =
            |name| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute()).map(tidy);
        let env = paths::Env::from_variables(|name| variables.get(name).map(OsStr::to_owned));
        let (data, runtime) = (env.data_dir().ok().map(tidy), env.runtime_dir().ok().map(tidy));
        let path = variables.get("PATH").unwrap_or(OsStr::new("/usr/bin:/bin"));
        let mut dirs: Vec<PathBuf> = Vec::with_capacity(16);
        for dir in path.as_bytes().split(|byte| *byte == b':').filter(|dir| dir.first() == Some(&b'/')) {
            let dir = tidy(PathBuf::from(OsStr::from_bytes(dir)));
            if !dirs.iter().any(|known| known.as_os_str() == dir.as_os_str()) {
                dirs.push(dir);
            }
        }
        let euid = rustix::process::geteuid().as_raw();
        let home = absolute("HOME").or_else(|| registered_home(euid));
        let real_home = home.as_ref().and_then(|home| path::real(home).ok().filter(|real| real != home));
        let mut unfit = Vec::new();
        let mut fit = |name: &'static str, dir: &PathBuf| {
            let fit = !is(dir, Path::new("/")) && home.as_ref().is_none_or(|home| !is(dir, home));
            if !fit {
                unfit.push(name);
            }
            fit
        };
        let set = |names: &[&'static str]| {
            names.iter().filter_map(|name| Some((*name, absolute(name)?))).collect::<Vec<_>>()
        };
        let mut agent_home = set(&["CLAUDE_CONFIG_DIR", "CODEX_HOME"]);
        agent_home.retain(|(name, dir)| fit(name, dir));
        let mut tool_homes = set(&TOOL_HOMES);
        tool_homes.retain(|(_, dir)| home.as_ref().is_none_or(|home| !is(dir, home)));
        let temp = absolute("TMPDIR").filter(|dir| dir.is_dir() && fit("TMPDIR", dir));
        let data = data.filter(|dir| fit("AGOR_DATA_DIR", dir));
        // It is below the data directory, or has nothing to do with it.
        let runtime = runtime.filter(|_| !unfit.contains(&"AGOR_DATA_DIR"));
        Host {
            cwd: std::env::current_dir().ok(),
            home,
            real_home,
            temp,
            path: dirs,
            data,
            runtime,
            env,
            euid,
            agent_home,
            tool_homes,
            unfit,
            variables,
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
        dir.as_os_str() == "/" || self.homes().any(|home| within(home, dir))
    }

    /// Whether that directory is the home directory.
    pub(crate) fn is_home(&self, dir: &Path) -> bool {
        self.homes().any(|home| home == dir)
    }

    fn homes(&self) -> impl Iterator<Item = &PathBuf> {
        self.home.iter().chain(&self.real_home)
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
    fn a_directory_is_known_by_its_other_names() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir_all(home.join("below")).unwrap();
        for (name, to) in [("to-home", &*home), ("to-root", Path::new("/"))] {
            std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        }
        assert!(is(&home, &home) && is(&dir.path().join("to-home"), &home));
        assert!(is(&dir.path().join("to-root"), Path::new("/")));
        for other in [home.join("below"), dir.path().into(), dir.path().join("none")] {
            assert!(!is(&other, &home) && !is(&other, Path::new("/")), "{}", other.display());
        }
    }

    #[test]
    fn the_home_directory_is_known_without_the_variable() {
        let table =
            b"root:x:0:0:root:/root:/bin/bash\nshort:x:7\na:x:70:7:,,,:/home/a/:/bin/sh\nb:x:8:8:::\n";
        for (user, home) in [(0, Some("/root")), (70, Some("/home/a")), (7, None), (8, None), (9, None)] {
            assert_eq!(home_in(table, user).as_deref(), home.map(Path::new), "{user}");
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
        let linked = Host { real_home: Some("/data/h".into()), ..host };
        for dir in ["/h", "/data/h", "/data"] {
            assert!(linked.holds_home(Path::new(dir)), "{dir}");
        }
        assert!(linked.is_home(Path::new("/data/h")) && !linked.is_home(Path::new("/data")));
    }
}
