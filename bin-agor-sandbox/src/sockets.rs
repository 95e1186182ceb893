//! Pathname sockets of other programs, as the kernel lists them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::sys::path::real;

/// Every bound pathname socket of this network namespace that this user could connect to (proc_net(5):
/// `/proc/net/unix`). The kernel follows links on connect, so the paths are without any.
/// Nothing where the kernel does not say: there is no `/proc`, or one without it.
pub(crate) fn reachable() -> Option<Vec<PathBuf>> {
    let table = std::fs::read("/proc/net/unix").ok()?;
    let mut named: BTreeSet<PathBuf> = BTreeSet::new();
    let mut left: BTreeSet<&Path> = BTreeSet::new();
    for path in parse(&table) {
        match real(path) {
            Ok(real) => _ = named.insert(real),
            Err(_) => left.extend(path.parent()),
        }
    }
    // Renamed, or linked and removed, since it was bound, as ssh does with a master's: any socket beside it.
    for dir in left.into_iter().filter_map(|dir| real(dir).ok()) {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        let sockets = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
        named.extend(sockets.map(|entry| entry.path()));
    }
    let mut paths = BTreeSet::new();
    for real in named {
        let is_socket = std::fs::symlink_metadata(&real).is_ok_and(|meta| meta.file_type().is_socket());
        // Connecting takes write permission on the socket (unix(7)).
        if is_socket && rustix::fs::access(&real, rustix::fs::Access::WRITE_OK).is_ok() {
            paths.insert(real);
        }
    }
    Some(paths.into_iter().collect())
}

/// The eighth column, where it is an absolute path; it may hold blanks.
fn parse(table: &[u8]) -> impl Iterator<Item = &Path> {
    table.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let at = line.windows(2).position(|pair| pair == b" /")?;
        Some(Path::new(OsStr::from_bytes(&line[at + 1..])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_found() {
        let table = b"Num RefCount Protocol Flags Type St Inode Path\n\
            00: 3 0 0 0001 03 1\n\
            00: 2 0 00010000 0001 01 2 /run/a b.sock\n\
            00: 2 0 00010000 0001 01 2 @abstract /x\n\
            00: 2 0 00010000 0001 01 2 relative\n";
        let found: Vec<&Path> = parse(table).collect();
        assert_eq!(found[0], Path::new("/run/a b.sock"));
        // An abstract name that looks like a path: harmless, since no socket is there.
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn one_that_was_renamed_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(dir.join("s.new")).unwrap();
        std::fs::rename(dir.join("s.new"), dir.join("s")).unwrap();
        assert!(reachable().unwrap().contains(&dir.join("s")));
    }

    #[test]
    fn an_own_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(reachable().unwrap().contains(&path));
    }
}
