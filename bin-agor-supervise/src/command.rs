//! Finding the command, and saying in words why it cannot be executed or how it ended.

use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::names::signal_name;
use crate::rule::Exit;

/// The paths to try for `program`, as execvp(3): itself with a slash in it, else along PATH.
pub(crate) fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    let path = path.unwrap_or(OsStr::new("/usr/local/bin:/bin:/usr/bin"));
    path.as_bytes()
        .split(|byte| *byte == b':')
        .map(|dir| if dir.is_empty() { b"." as &[u8] } else { dir })
        .map(|dir| Path::new(OsStr::from_bytes(dir)).join(program))
        .collect()
}

/// For execve(2); none when there is a NUL in it, which no argument can have.
pub(crate) fn c_string(text: impl Into<OsString>) -> Option<CString> {
    CString::new(text.into().into_vec()).ok()
}

/// The exit status and the reason for an execve(2) that failed with `errno`.
pub(crate) fn exec_failure(candidates: &[PathBuf], program: &str, errno: i32) -> (u8, String) {
    let there = candidates.iter().find(|path| path.exists());
    let why = std::io::Error::from_raw_os_error(errno).to_string();
    let why = why.split(" (os error").next().unwrap_or(&why);
    // A directory of PATH that may not be searched is no denial of the program, which is in none.
    let searched = !program.contains('/') && there.is_none();
    match (errno, there) {
        (libc::EACCES, None) if searched => {
            (127, format!("cannot execute {program}: No such file or directory"))
        }
        (libc::ENOENT | libc::ENOTDIR, None) => (127, format!("cannot execute {program}: {why}")),
        (libc::ENOENT | libc::ENOTDIR, Some(path)) => {
            let interpreter = interpreter(path).unwrap_or_else(|| "its dynamic loader".into());
            (126, format!("cannot execute {}: its interpreter {interpreter} does not exist", path.display()))
        }
        (libc::EACCES, Some(path)) if path.is_dir() => {
            (126, format!("cannot execute {}: it is a directory", path.display()))
        }
        (libc::ENOEXEC, Some(path)) => (
            126,
            format!(
                "cannot execute {}: not a program for this machine, and no script with #!",
                path.display()
            ),
        ),
        (_, path) => {
            let shown = path.map_or(program.to_owned(), |path| path.display().to_string());
            (126, format!("cannot execute {shown}: {why}"))
        }
    }
}

/// Whether trying again may help against this errno of execve(2): the machine was short of something, or
/// the file was being written.
pub(crate) fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ETXTBSY | libc::EIO)
}

/// What a script names after `#!`.
fn interpreter(path: &Path) -> Option<String> {
    let mut head = [0; 256];
    let count = fs::File::open(path).ok()?.read(&mut head).ok()?;
    let line = head[..count].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let text = String::from_utf8_lossy(line);
    let word = text.split_whitespace().next()?;
    Some(word.to_owned())
}

/// `exit 1`, `signal 9 (SIGKILL)`.
pub(crate) fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) | Exit::NoExec(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("signal {signal} ({})", signal_name(signal.into())),
        Exit::NoFork => "not started".into(),
    }
}

/// From a wait(2) status.
pub(crate) fn decode(status: i32) -> (Exit, bool) {
    let signal = status & 0x7f;
    if signal == 0 {
        (Exit::Code(((status >> 8) & 0xff) as u8), false)
    } else {
        (Exit::Signal(signal as u8), status & 0x80 != 0)
    }
}

/// The end of a stderr as text, without the part of a word that it begins with where more than `kept` bytes
/// came: that may be part of a secret.
pub(crate) fn whole_words(tail: &[u8], kept: usize) -> Cow<'_, str> {
    let cut = tail.len() >= kept;
    let begin = tail.iter().position(u8::is_ascii_whitespace).filter(|_| cut).unwrap_or(0);
    String::from_utf8_lossy(&tail[begin..])
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let text = text.trim_end();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_searched_as_execvp_does() {
        let of = |program: &str, path: &str| {
            candidates(OsStr::new(program), Some(OsStr::new(path)))
                .into_iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("a", "/x::/y"), ["/x/a", "./a", "/y/a"]);
        assert_eq!(of("./a", "/x"), ["./a"]);
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("s");
        fs::write(&script, "#!/no/such/thing -x\n").unwrap();
        let (code, why) = exec_failure(&[script], "s", libc::ENOENT);
        assert_eq!(code, 126);
        assert!(why.ends_with("its interpreter /no/such/thing does not exist"), "{why}");
        assert_eq!(exec_failure(&[dir.path().join("t")], "t", libc::ENOENT).0, 127);
        assert_eq!(exec_failure(&[dir.path().join("t")], "t", libc::EACCES).0, 127);
        assert_eq!(exec_failure(&[dir.path().join("t")], "/x/t", libc::EACCES).0, 126);
    }

    #[test]
    fn statuses_are_decoded() {
        assert_eq!(decode(3 << 8), (Exit::Code(3), false));
        assert_eq!(decode(9), (Exit::Signal(9), false));
        assert_eq!(decode(11 | 0x80), (Exit::Signal(11), true));
        assert_eq!(describe(Exit::Signal(9)), "signal 9 (SIGKILL)");
        assert_eq!(last_lines("a\nb\nc\n\n", 2), "b\nc");
        assert_eq!(whole_words(b"ret end", 8), "ret end");
        assert_eq!(whole_words(b"cret end", 8), " end");
        assert_eq!(whole_words(b"wordword", 8), "wordword");
    }
}
