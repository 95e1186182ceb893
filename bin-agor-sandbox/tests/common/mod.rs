//! A directory of its own for each test, outside of every default grant, and the program run in it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "each test binary uses a part"
)]

#[path = "../../../tests/src/executable.rs"]
pub mod executable;

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// Exit status, or 128 + signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `BASE/work` is the working directory (the project), `BASE/tmp` the temporary directory, `BASE/home` the
/// home directory, `BASE/data` the data directory; everything else in BASE is outside.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

/// The directory for test directories: one that lies in no default grant even with the default TMPDIR.
fn parent() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // Built by one user and run by another.
    if rustix::fs::access(&built, rustix::fs::Access::WRITE_OK).is_ok() { built } else { "/var/tmp".into() }
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let dir = tempfile::Builder::new().prefix("sandbox").tempdir_in(parent()).unwrap();
        let this = Sandbox { dir };
        for sub in ["work", "tmp", "home", "data", "out"] {
            std::fs::create_dir(this.path(sub)).unwrap();
        }
        this
    }

    /// A path below the base.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Makes a file and its parents.
    pub fn file(&self, path: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes a program.
    pub fn script(&self, path: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        executable::write(&path, text);
        path
    }

    pub fn read(&self, path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    /// The program with an environment of its own.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agor-sandbox"));
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("AGOR_DATA_DIR", self.path("data"))
            .env("LC_ALL", "C")
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs with these arguments.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        ran(self.command().args(args))
    }

    /// Runs a shell script inside.
    pub fn sh(&self, options: &[&str], script: &str) -> Ran {
        ran(self.command().args(options).args(["--", "sh", "-c", script]))
    }

    /// Runs a python3 script inside.
    pub fn python(&self, options: &[&str], script: &str) -> Ran {
        ran(self.command().args(options).args(["--", "/usr/bin/python3", "-c", script]))
    }

    /// The status as JSON, of a run of `true`.
    pub fn status(&self, options: &[&str]) -> serde_json::Value {
        let file = self.path("status.json");
        let mut command = self.command();
        command.arg("--status-file").arg(&file).args(options).args(["--", "true"]);
        let ran = ran(&mut command);
        assert_eq!(ran.code, 0, "{ran:?}");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap()),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether a program is there.
pub fn has(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|out| out.status.success())
}

/// Says why a test is skipped; fails instead where everything is required.
pub fn skip(why: &str) {
    assert!(std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none(), "required: {why}");
    eprintln!("skipped: {why}");
}

/// Landlock's ABI here.
pub fn landlock_abi() -> u64 {
    let sandbox = Sandbox::new();
    sandbox.status(&["--no-protect", "--unix-all"])["landlock_abi"].as_u64().unwrap()
}

/// Whether a namespace can be had here at all.
pub fn namespaces() -> bool {
    let sandbox = Sandbox::new();
    let state = sandbox.status(&[])["layers"][0]["state"].clone();
    if state != "enforced" {
        skip("this host allows no private mount namespace");
        return false;
    }
    true
}

/// The stand-ins go when the namespace does, which is a moment after COMMAND.
pub fn gone(path: &Path) -> bool {
    soon(|| !path.exists())
}

/// Whether that comes true, in a time that only a hang takes.
pub fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !condition() {
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    true
}

/// Runs git outside.
pub fn git(sandbox: &Sandbox, dir: &str, args: &[&str]) {
    let ran = ran(Command::new("git")
        .args(args)
        .current_dir(sandbox.path(dir))
        .env("HOME", sandbox.path("home"))
        .env("GIT_CONFIG_NOSYSTEM", "1"));
    assert_eq!(ran.code, 0, "git {args:?}: {ran:?}");
}

/// Makes a repository with a commit.
pub fn repository(sandbox: &Sandbox, dir: &str) {
    std::fs::create_dir_all(sandbox.path(dir)).unwrap();
    git(sandbox, dir, &["init", "-q"]);
    git(sandbox, dir, &["config", "user.email", "a@example.org"]);
    git(sandbox, dir, &["config", "user.name", "A"]);
    std::fs::write(sandbox.path(dir).join("tracked"), "1\n").unwrap();
    git(sandbox, dir, &["add", "tracked"]);
    git(sandbox, dir, &["commit", "-qm", "first"]);
}
