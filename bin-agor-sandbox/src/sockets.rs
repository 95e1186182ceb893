//! Pathname sockets of other programs, as the kernel lists them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::sys::path::real;

/// Every bound pathname socket of this network namespace that this user could connect to (proc_net(5):
/// `/proc/net/unix`). The kernel follows links on connect, so the paths are without any.
pub(crate) fn reachable() -> Vec<PathBuf> {
    let Ok(table) = std::fs::read("/proc/net/unix") else { return Vec::new() };
    let mut paths = BTreeSet::new();
    for path in parse(&table) {
        let Ok(real) = real(path) else { continue };
        let is_socket = std::fs::symlink_metadata(&real).is_ok_and(|meta| meta.file_type().is_socket());
        // Connecting takes write permission on the socket (unix(7)).
        if is_socket && rustix::fs::access(&real, rustix::fs::Access::WRITE_OK).is_ok() {
            paths.insert(real);
        }
    }
    paths.into_iter().collect()
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
    fn an_own_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(reachable().contains(&path));
    }
}
