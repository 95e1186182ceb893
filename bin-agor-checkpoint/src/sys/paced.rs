//! A copy that leaves the disk to others in between.
//!
//! SQLite copies a log into the page cache as fast as it can and syncs it in one go; while half a gigabyte
//! is on its way to the disk, every commit of a writer waits behind it. So there is a VFS here that is the
//! usual one in everything, but for writes to the main file by a thread that asked for [`paced`]: after
//! every few megabytes it syncs, and then rests for a moment.
#![expect(unsafe_code, reason = "an SQLite VFS is a table of C functions")]

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use agor_common::db::rusqlite::ffi;

/// The VFS's name.
pub(crate) const NAME: &CStr = c"agor-paced";

/// Bytes between two syncs.
const PIECE: u64 = 4 << 20;
/// The longest rest after one.
const MAX_REST: Duration = Duration::from_millis(30);

thread_local! {
    /// Bytes since the last sync, while this thread wants its writes paced.
    static WRITTEN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs `work` with this thread's writes to main files paced.
pub(crate) fn paced<T>(work: impl FnOnce() -> T) -> T {
    WRITTEN.set(Some(0));
    let value = work();
    WRITTEN.set(None);
    value
}

/// The methods of a file of the usual VFS with ours for `xWrite`. `methods` comes first, so that a pointer
/// to it is one to the whole.
#[repr(C)]
struct Table {
    methods: ffi::sqlite3_io_methods,
    original: *const ffi::sqlite3_io_methods,
}

// SAFETY: a table is never changed once it is made, and what it points to is SQLite's constant data.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

type Open = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    ffi::sqlite3_filename,
    *mut ffi::sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;

/// `xOpen` of the default VFS.
static USUAL_OPEN: OnceLock<Open> = OnceLock::new();
static TABLES: Mutex<Vec<&'static Table>> = Mutex::new(Vec::new());

/// Registers the VFS, once; `false` where the usual one is not of the kind that we know.
pub(crate) fn register() -> bool {
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(|| {
        // SAFETY: a null name asks for the default VFS, which lives as long as the process.
        let usual = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
        if usual.is_null() {
            return false;
        }
        // SAFETY: not null, and never written to by SQLite but for its own list pointer. The copy keeps
        // `pAppData` and the sizes, which is all that the usual functions look at.
        let mut ours = unsafe { std::ptr::read(usual) };
        let Some(usual_open) = ours.xOpen else { return false };
        if USUAL_OPEN.set(usual_open).is_err() {
            return false;
        }
        ours.zName = NAME.as_ptr();
        ours.pNext = std::ptr::null_mut();
        ours.xOpen = Some(open);
        // SAFETY: the structure is leaked, so it outlives its registration.
        unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 0) == ffi::SQLITE_OK }
    })
}

/// `xOpen`: the usual one, and for a main file our table in place of its own.
unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let Some(original) = USUAL_OPEN.get() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: SQLite's own arguments, handed on; `vfs` has the fields of the usual one.
    let rc = unsafe { original(vfs, name, file, flags, out) };
    if rc == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        // SAFETY: an open file's first field is its table of methods, which `xOpen` has just set.
        unsafe {
            if !(*file).pMethods.is_null() {
                (*file).pMethods = &raw const table((*file).pMethods).methods;
            }
        }
    }
    rc
}

/// Our table for an original one, made once for each.
///
/// # Safety
/// `original` must point to a table of methods that lives as long as the process.
unsafe fn table(original: *const ffi::sqlite3_io_methods) -> &'static Table {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(table) = tables.iter().find(|table| table.original == original) {
        return table;
    }
    // SAFETY: by this function's contract.
    let mut methods = unsafe { std::ptr::read(original) };
    methods.xWrite = Some(write);
    let table = Box::leak(Box::new(Table { methods, original }));
    tables.push(table);
    table
}

/// `xWrite`: the usual one, then a sync and a rest when a piece is full.
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: only files that `open` has given one of our tables come here, and tables are never freed.
    let usual = unsafe { &*(*(*file).pMethods.cast::<Table>()).original };
    let Some(original) = usual.xWrite else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite's own arguments, handed on.
    let rc = unsafe { original(file, bytes, amount, offset) };
    let Some(before) = WRITTEN.get().filter(|_| rc == ffi::SQLITE_OK) else { return rc };
    let written = before + u64::try_from(amount).unwrap_or(0);
    if written < PIECE {
        WRITTEN.set(Some(written));
        return rc;
    }
    WRITTEN.set(Some(0));
    let Some(sync) = usual.xSync else { return rc };
    let started = Instant::now();
    // SAFETY: an open file and a flag that `xSync` knows.
    let rc = unsafe { sync(file, ffi::SQLITE_SYNC_NORMAL) };
    std::thread::sleep(started.elapsed().min(MAX_REST));
    rc
}

#[cfg(test)]
mod tests {
    use super::*;
    use agor_common::db::rusqlite::{Connection, OpenFlags};

    #[test]
    fn paced_copies_are_copies() {
        assert!(register() && register());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = Connection::open_with_flags_and_vfs(&path, flags, NAME).unwrap();
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        conn.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(())).unwrap();
        conn.execute_batch(
            "CREATE TABLE t (x); WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
             INSERT INTO t SELECT randomblob(4000) FROM n",
        )
        .unwrap();
        paced(|| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 12_000_000);
        drop(conn);
        let conn = Connection::open(&path).unwrap();
        let word: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(word, "ok");
    }
}
