//! Helpers for the suites that need more than one tool: where the programs are, a data directory of one's
//! own, and commands that see nothing of the user's.

pub mod completions;
pub mod executable;
pub mod faults;
pub mod pages;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The five tools.
pub const TOOLS: [&str; 5] = ["agor-supervise", "agor-sandbox", "btmsg", "agor-checkpoint", "agor-relay"];

/// The directory with the programs: `AGOR_BIN`, else where cargo put them beside this test.
///
/// # Panics
/// Where they are not built: `cargo build --workspace --bins` comes first.
pub fn bin_dir() -> PathBuf {
    let dir = match std::env::var_os("AGOR_BIN") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let exe = std::env::current_exe().expect("a test knows its own path");
            let deps = exe.parent().expect("a test lies in a directory");
            deps.parent().expect("target/PROFILE/deps").to_path_buf()
        }
    };
    for tool in TOOLS {
        let path = dir.join(tool);
        assert!(path.exists(), "{} is missing; run: cargo build --workspace --bins", path.display());
    }
    dir
}

/// The top of the checkout.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the checkout").to_path_buf()
}

/// A world of its own: data directory, home and working directory, removed on drop.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// A new one, below the temporary directory.
    ///
    /// # Panics
    /// Where no directory can be made.
    pub fn new() -> World {
        let dir = tempfile::Builder::new().prefix("agor-test.").tempdir().expect("a temporary directory");
        for sub in ["data", "home", "work", "tmp"] {
            std::fs::create_dir(dir.path().join(sub)).expect("a directory in it");
        }
        World { dir }
    }

    /// A path in it.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// A command of ours that runs here.
    pub fn tool(&self, tool: &str) -> Command {
        self.command(bin_dir().join(tool))
    }

    /// Any command that runs here: a clean environment, our programs first on PATH.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("AGOR_DATA_DIR", self.path("data"))
            .env("LANG", "C.UTF-8")
            .current_dir(self.path("work"));
        command
    }

    /// Runs `tool` with `args` to its end.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn run(&self, tool: &str, args: &[&str]) -> Output {
        self.tool(tool).args(args).output().expect("the program starts")
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

/// Says that a test is skipped and why; with `AGOR_TEST_REQUIRE_ALL=1` that is a failure instead.
///
/// # Panics
/// With `AGOR_TEST_REQUIRE_ALL=1`.
#[expect(clippy::print_stderr, reason = "a test's own words")]
pub fn skip(why: &str) {
    assert!(std::env::var_os("AGOR_TEST_REQUIRE_ALL").is_none_or(|v| v != "1"), "skipped: {why}");
    eprintln!("SKIPPED: {why}");
}

/// stdout as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// stderr as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
