//! Whether Litestream replicates a database: it must then be the one that resets the WAL.
//!
//! Litestream keeps its state in a directory `.NAME-litestream` beside the database and tables whose names
//! begin with `_litestream_` in it.

use std::ffi::OsString;
use std::path::Path;

use agor_common::db::rusqlite::{self, Connection};

/// Whether there is a state directory for the database at `real` (not a symbolic link).
pub(crate) fn has_directory(real: &Path) -> bool {
    let Some(name) = real.file_name() else { return false };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push("-litestream");
    let mut plain = OsString::from(name);
    plain.push("-litestream");
    [hidden, plain].iter().any(|name| real.with_file_name(name).is_dir())
}

/// Whether its tables are there.
pub(crate) fn has_tables(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_litestream\\_%' \
         ESCAPE '\\')",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litestream_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("a.db");
        let conn = Connection::open(&db).unwrap();
        conn.execute_batch("CREATE TABLE xlitestreamx (id)").unwrap();
        assert!(!has_directory(&db) && !has_tables(&conn).unwrap());
        conn.execute_batch("CREATE TABLE _litestream_seq (id)").unwrap();
        assert!(has_tables(&conn).unwrap());
        std::fs::create_dir(dir.path().join(".a.db-litestream")).unwrap();
        assert!(has_directory(&db));
    }
}
