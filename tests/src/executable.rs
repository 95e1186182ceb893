//! Programs that a test makes for itself.
//!
//! Another process writes them. A descriptor that this one has open for writing is in every child that another
//! test's thread forks, until that child executes; and so long nobody can execute the file (`ETXTBSY`, execve(2)).

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes an executable file at `path`, or one that is there anew.
///
/// # Panics
/// Where it cannot.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut child = shell("cat >\"$1\" && chmod 755 \"$1\"", &[path.as_ref().as_os_str()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(content.as_ref()).expect("the shell reads");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "{} cannot be made", path.as_ref().display());
}

/// Copies a program.
///
/// # Panics
/// Where it cannot.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let (from, to) = (from.as_ref().as_os_str(), to.as_ref().as_os_str());
    let status = shell("cp -- \"$1\" \"$2\"", &[from, to]).status().expect("a shell");
    assert!(status.success(), "{} cannot be copied", from.display());
}

fn shell(script: &str, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).args(arguments);
    command
}
