//! What a system call asks for: from registers and memory of a process to a path and a right.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use crate::seccomp::{Rule, Test, Verdict};
use crate::sys::notify::{self, Call};

/// What a process wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Want {
    /// Read a file or list a directory.
    Read(PathBuf),
    /// Write to a file that is there.
    Write(PathBuf),
    /// Make, remove or rename a name; the path is the name's.
    Change(PathBuf),
    /// Execute.
    Execute(PathBuf),
    /// Connect to a Unix socket.
    Unix(PathBuf),
    /// Connect to a TCP port.
    Tcp(u16),
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// Flags in this argument, path before it.
    Open {
        dir: Option<u8>,
        path: u8,
        flags: u8,
    },
    /// `openat2`: flags behind a pointer.
    Open2,
    /// The name itself changes.
    Change {
        dir: Option<u8>,
        path: u8,
    },
    /// Two names change.
    Two {
        first: (Option<u8>, u8),
        second: (Option<u8>, u8),
    },
    /// Only a second name comes up, the first is what a link says.
    Write {
        path: u8,
    },
    Execute {
        dir: Option<u8>,
        path: u8,
    },
    Connect,
}

/// The calls that are observed.
const CALLS: &[(i64, How)] = &[
    (libc::SYS_openat, How::Open { dir: Some(0), path: 1, flags: 2 }),
    (libc::SYS_openat2, How::Open2),
    (libc::SYS_execve, How::Execute { dir: None, path: 0 }),
    (libc::SYS_execveat, How::Execute { dir: Some(0), path: 1 }),
    (libc::SYS_mkdirat, How::Change { dir: Some(0), path: 1 }),
    (libc::SYS_mknodat, How::Change { dir: Some(0), path: 1 }),
    (libc::SYS_unlinkat, How::Change { dir: Some(0), path: 1 }),
    (libc::SYS_symlinkat, How::Change { dir: Some(1), path: 2 }),
    (libc::SYS_linkat, How::Two { first: (Some(0), 1), second: (Some(2), 3) }),
    (libc::SYS_renameat2, How::Two { first: (Some(0), 1), second: (Some(2), 3) }),
    (libc::SYS_truncate, How::Write { path: 0 }),
    (libc::SYS_connect, How::Connect),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, How::Open { dir: None, path: 0, flags: 1 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, How::Change { dir: None, path: 0 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, How::Change { dir: None, path: 0 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, How::Change { dir: None, path: 0 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, How::Change { dir: None, path: 0 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, How::Change { dir: None, path: 0 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, How::Change { dir: None, path: 1 }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, How::Two { first: (None, 0), second: (None, 1) }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, How::Two { first: (None, 0), second: (None, 1) }),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_renameat, How::Two { first: (Some(0), 1), second: (Some(2), 3) }),
];

/// Adds the observation to a filter. Opens that take no right (`O_PATH`) are not worth the question.
pub(crate) fn add_rules(rules: &mut Vec<Rule>) {
    for (call, how) in CALLS {
        let number = u32::try_from(*call).expect("system call numbers are small");
        let cases = match how {
            How::Open { flags, .. } => {
                vec![(vec![Test::Any { arg: *flags, bits: libc::O_PATH as u32 }], Verdict::Allow)]
            }
            _ => Vec::new(),
        };
        rules.push(Rule { number, cases, otherwise: Verdict::Notify });
    }
    rules.sort_by_key(|rule| rule.number);
}

/// What a call wants; empty where its memory cannot be read or it names nothing.
pub(crate) fn wants(call: &Call) -> Vec<Want> {
    let Some((_, how)) = CALLS.iter().find(|(number, _)| *number == call.number) else { return Vec::new() };
    let path = |dir: Option<u8>, at: u8| {
        let dir = dir.map_or(libc::AT_FDCWD, |dir| call.args[usize::from(dir)] as i32);
        resolve(call.pid, dir, &string(call.pid, call.args[usize::from(at)])?)
    };
    let found = match *how {
        How::Open { dir, path: at, flags } => {
            path(dir, at).map(|path| open(&path, call.args[usize::from(flags)] as i32))
        }
        How::Open2 => path(Some(0), 1).map(|path| {
            let mut flags = [0_u8; 8];
            notify::read_memory(call.pid, call.args[2], &mut flags);
            open(&path, u64::from_ne_bytes(flags) as i32)
        }),
        How::Change { dir, path: at } => path(dir, at).map(|path| vec![Want::Change(path)]),
        How::Two { first, second } => {
            let both = [path(first.0, first.1), path(second.0, second.1)];
            Some(both.into_iter().flatten().map(Want::Change).collect())
        }
        How::Write { path: at } => path(None, at).map(|path| vec![Want::Write(path)]),
        How::Execute { dir, path: at } => path(dir, at).map(|path| vec![Want::Execute(path)]),
        How::Connect => address(call).map(|want| vec![want]),
    };
    found.unwrap_or_default()
}

fn open(path: &Path, flags: i32) -> Vec<Want> {
    if flags & libc::O_PATH != 0 {
        return Vec::new();
    }
    let there = std::fs::symlink_metadata(path).is_ok();
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        return vec![Want::Change(path.join("#"))];
    }
    if !there {
        return if flags & libc::O_CREAT != 0 { vec![Want::Change(path.to_path_buf())] } else { Vec::new() };
    }
    let path = path.to_path_buf();
    let mut wants = Vec::new();
    let mode = flags & libc::O_ACCMODE;
    if mode != libc::O_WRONLY {
        wants.push(Want::Read(path.clone()));
    }
    if mode != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
        wants.push(Want::Write(path));
    }
    wants
}

fn string(pid: i32, address: u64) -> Option<Vec<u8>> {
    let mut buffer = vec![0_u8; 4096];
    let got = notify::read_memory(pid, address, &mut buffer);
    let end = buffer[..got].iter().position(|byte| *byte == 0)?;
    buffer.truncate(end);
    (!buffer.is_empty()).then_some(buffer)
}

/// The path as this process sees it, without links, as far as it exists.
fn resolve(pid: i32, dir: i32, name: &[u8]) -> Option<PathBuf> {
    let name = PathBuf::from(OsString::from_vec(name.to_vec()));
    let full = if name.is_absolute() {
        name
    } else if dir == libc::AT_FDCWD {
        std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?.join(name)
    } else {
        std::fs::read_link(format!("/proc/{pid}/fd/{dir}")).ok()?.join(name)
    };
    // What is "self" there is not "self" here.
    let full = match full.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(pid.to_string()).join(rest),
        Err(_) => full,
    };
    Some(canonical(&full))
}

/// `realpath`, for names too that do not exist.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => canonical(parent).join(name),
        (Some(parent), Some(Component::ParentDir)) => {
            canonical(parent).parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
        }
        _ => path.to_path_buf(),
    }
}

fn address(call: &Call) -> Option<Want> {
    let mut buffer = [0_u8; 128];
    let length = usize::try_from(call.args[2]).ok()?.min(buffer.len());
    // Not a string: read it whole.
    let mut got = 0;
    while got < length {
        let more = notify::read_memory(call.pid, call.args[1] + got as u64, &mut buffer[got..length]);
        if more == 0 {
            break;
        }
        got += more;
    }
    let family = i32::from(u16::from_ne_bytes([buffer[0], buffer[1]]));
    match family {
        libc::AF_INET | libc::AF_INET6 if got >= 4 => {
            Some(Want::Tcp(u16::from_be_bytes([buffer[2], buffer[3]])))
        }
        libc::AF_UNIX if got > 2 && buffer[2] != 0 => {
            let path = buffer[2..got].split(|byte| *byte == 0).next()?;
            resolve(call.pid, libc::AT_FDCWD, std::ffi::OsStr::from_bytes(path).as_bytes()).map(Want::Unix)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_exist_are_resolved_too() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(canonical(&real.join("link/none/x")), real.join("none/x"));
        assert_eq!(canonical(&real.join("none/../y")), real.join("y"));
    }

    #[test]
    fn opens_want_what_their_flags_say() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        assert_eq!(open(&file, libc::O_RDONLY), []);
        assert_eq!(open(&file, libc::O_WRONLY | libc::O_CREAT), [Want::Change(file.clone())]);
        std::fs::write(&file, "").unwrap();
        assert_eq!(open(&file, libc::O_RDONLY), [Want::Read(file.clone())]);
        assert_eq!(open(&file, libc::O_RDWR), [Want::Read(file.clone()), Want::Write(file.clone())]);
        assert_eq!(open(&file, libc::O_WRONLY | libc::O_TRUNC), [Want::Write(file.clone())]);
        assert_eq!(open(&file, libc::O_PATH), []);
    }
}
