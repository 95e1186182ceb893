//! A database's files as they are on disk, without SQLite: the header, the WAL's size, the WAL index.
//!
//! Reading them is safe beside SQLite only with care: closing a descriptor of the main file or the index
//! drops this process's locks on it. So while this process has the database open, its own descriptor is
//! borrowed and none is opened.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::locks::{beside, identity};
use crate::sys::file_lock;

/// What the first page says a file is (sqlite.org/fileformat2.html, section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// No bytes at all: to SQLite a new database.
    Empty,
    /// Something else, or too short to tell.
    Foreign,
    /// An SQLite database.
    Database {
        /// Whether its journal is a WAL.
        wal: bool,
        /// Bytes in a page.
        page_size: u32,
        /// Pages that the header counts; 0 where it does not.
        pages: u32,
    },
}

impl Header {
    /// From the first 100 bytes, or as many as there are.
    pub fn parse(bytes: &[u8]) -> Header {
        if bytes.is_empty() {
            return Header::Empty;
        }
        let Some(header) = bytes.first_chunk::<100>() else { return Header::Foreign };
        if !header.starts_with(b"SQLite format 3\0") {
            return Header::Foreign;
        }
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65536,
            size if size >= 512 && size.is_power_of_two() => u32::from(size),
            _ => return Header::Foreign,
        };
        let number =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        // The count is valid only when the change counter is the one it was made for.
        let pages = if number(24) == number(92) { number(28) } else { 0 };
        Header::Database { wal: header[18] == 2 && header[19] == 2, page_size, pages }
    }

    /// Of the file at `path`, which this process must not have open.
    pub fn read(path: &Path) -> io::Result<Header> {
        let mut bytes = Vec::with_capacity(100);
        File::open(path)?.take(100).read_to_end(&mut bytes)?;
        Ok(Header::parse(&bytes))
    }
}

/// The file itself, where `db` is a symbolic link to it: what lies beside it lies beside that one. Always
/// absolute, also when there is no such file.
pub fn real(db: &Path) -> PathBuf {
    fs::canonicalize(db).or_else(|_| std::path::absolute(db)).unwrap_or_else(|_| db.into())
}

/// Bytes in the `-wal` file; 0 when there is none.
pub fn wal_bytes(db: &Path) -> u64 {
    fs::metadata(beside(db, "-wal")).map_or(0, |meta| meta.len())
}

/// The WAL index, as far as a checkpoint is concerned with it (sqlite.org/walformat.html, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    /// Frames in the log.
    pub frames: u32,
    /// Frames of it that are in the main file already.
    pub moved: u32,
    /// Up to which frame the readers of slots 0 to 4 see the log; `u32::MAX` where the slot is unused.
    pub marks: [u32; 5],
}

impl Index {
    /// From the first 136 bytes of the `-shm` file; `None` when a writer is just changing it or it is no
    /// index.
    pub fn parse(bytes: &[u8]) -> Option<Index> {
        let bytes = bytes.first_chunk::<136>()?;
        let number = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        // Two copies of the header, written one after the other; version 3007000; initialised.
        if bytes[..48] != bytes[48..96] || number(0) != 3_007_000 || bytes[12] == 0 {
            return None;
        }
        let marks = [number(100), number(104), number(108), number(112), number(116)];
        Some(Index { frames: number(16), moved: number(96), marks })
    }

    /// Of the database at `db`; `None` when there is none.
    pub fn read(db: &Path) -> Option<Index> {
        let shm = beside(db, "-shm");
        let read = |fd: std::os::fd::BorrowedFd<'_>| {
            let mut bytes = [0; 136];
            let n = rustix::io::pread(fd, &mut bytes, 0).ok()?;
            Index::parse(&bytes[..n])
        };
        match file_lock::with_own(identity(&shm)?, read) {
            Some(index) => index,
            None => read(File::open(&shm).ok()?.as_fd()),
        }
    }
}

/// Writes what the system caches of the main file to the disk, without a lock: so that a checkpoint which
/// keeps writers out has little left to sync. Does nothing unless this process has `db` open.
pub fn sync(db: &Path) -> io::Result<()> {
    let Some(file) = identity(db) else { return Ok(()) };
    let synced = file_lock::with_own(file, |fd| rustix::fs::fdatasync(fd));
    synced.unwrap_or(Ok(())).map_err(io::Error::from)
}

/// Drops what the system caches of the log, as far as it is on the disk: emptying a log of half a gigabyte
/// under the write lock takes a tenth of a second otherwise, most of it to free its pages. Does nothing
/// unless this process has `db` open.
pub fn forget_log(db: &Path) {
    if let Some(wal) = identity(&beside(db, "-wal")) {
        // Advice: where it is not taken, the emptying just takes longer.
        let _ = file_lock::with_own(wal, |fd| rustix::fs::fadvise(fd, 0, None, rustix::fs::Advice::DontNeed));
    }
}

/// The kind of the file system under `path` where SQLite's locks or its shared memory do not reach every
/// process that sees the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Other machines see the file, but not this machine's locks and memory.
    Network(&'static str),
    /// Other containers may see an older copy of the file.
    Layered(&'static str),
}

/// Whether the file system under `path` is one that SQLite's WAL must not be shared over; `None` for a
/// local one (sqlite.org/wal.html: all processes must be on the same host).
pub fn sharing(path: &Path) -> Option<Sharing> {
    // Its type differs between C libraries; the magic numbers have 32 bits (linux/magic.h).
    match rustix::fs::statfs(path).ok()?.f_type as u32 {
        0x6969 => Some(Sharing::Network("NFS")),
        0x0102_1997 => Some(Sharing::Network("9p")),
        0x6a65_6a63 => Some(Sharing::Network("virtiofs")),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some(Sharing::Network("SMB")),
        0x00c3_6400 => Some(Sharing::Network("Ceph")),
        0x5346_414f => Some(Sharing::Network("AFS")),
        0x7375_7245 => Some(Sharing::Network("Coda")),
        0x0bd0_0bd0 => Some(Sharing::Network("Lustre")),
        0x7461_636f => Some(Sharing::Network("OCFS2")),
        0x0116_1970 => Some(Sharing::Network("GFS2")),
        0x794c_7630 => Some(Sharing::Layered("overlayfs")),
        _ => None,
    }
}

/// What is wrong with a database that has several names (hard links); `None` where it has one.
pub fn names(path: &Path) -> Option<String> {
    let names = fs::metadata(path).ok()?.nlink();
    (names > 1).then(|| {
        format!(
            "{} has {names} names (hard links): each name has a log of its own, so what is written by one of them is \
             overwritten by another",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn headers_say_what_the_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, "").unwrap();
        assert_eq!(Header::read(&path).unwrap(), Header::Empty);
        fs::write(&path, "hello").unwrap();
        assert_eq!(Header::read(&path).unwrap(), Header::Foreign);
        fs::remove_file(&path).unwrap();
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA page_size = 8192; CREATE TABLE t (x)").unwrap();
        drop(conn);
        let header = Header::read(&path).unwrap();
        assert_eq!(header, Header::Database { wal: false, page_size: 8192, pages: 2 });
        let conn = Connection::open(&path).unwrap();
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        drop(conn);
        assert!(matches!(Header::read(&path).unwrap(), Header::Database { wal: true, .. }));
        let mut bytes = fs::read(&path).unwrap();
        bytes[..8].fill(0xff);
        assert_eq!(Header::parse(&bytes), Header::Foreign);
    }

    #[test]
    fn the_index_counts_frames_and_keeps_our_locks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        assert_eq!(Index::read(&path), None);
        let conn = Connection::open(&path).unwrap();
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        conn.execute_batch("CREATE TABLE t (x)").unwrap();
        let index = Index::read(&path).unwrap();
        assert_eq!((index.frames, index.moved), (2, 0));
        assert_eq!(wal_bytes(&path), 32 + 2 * (24 + 4096));
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        assert_eq!(Index::read(&path).unwrap().moved, 2);
        conn.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        sync(&path).unwrap();
        assert!(super::super::locks::is_connected(&path));
        assert!(!super::super::locks::is_writer(&path));
        conn.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
        Index::read(&path).unwrap();
        assert!(super::super::locks::is_writer(&path));
    }

    #[test]
    fn garbage_is_no_index() {
        assert_eq!(Index::parse(&[0; 136]), None);
        assert_eq!(Index::parse(&[1; 10]), None);
    }
}
