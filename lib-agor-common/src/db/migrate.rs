//! Schemas and their migrations.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;

use super::DbError;

/// One step: brings a database from version `n` to `n + 1`. It must be safe on an adopted file, where
/// tables may be there already: `CREATE … IF NOT EXISTS` and [`add_column`].
pub type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// What a database of ours is.
pub struct Schema {
    /// For messages: `a btmsg database`.
    pub what: &'static str,
    /// `PRAGMA application_id`.
    pub application_id: i32,
    /// Step `i` leads to `user_version = i + 1`.
    pub migrations: &'static [Migration],
    /// Tables of the earlier desktop app: a file without `application_id` that has tables, but none of
    /// these, is somebody else's.
    pub legacy_tables: &'static [&'static str],
}

impl Schema {
    /// The version that this program knows.
    pub fn version(&self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }
}

/// Adds a column where it is missing. `declaration` is `name TYPE DEFAULT …`; every added column needs a
/// default, since older clients insert without it.
pub fn add_column(tx: &Transaction<'_>, table: &str, declaration: &str) -> rusqlite::Result<()> {
    let name = declaration.split_whitespace().next().unwrap_or_default();
    let there: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE)",
        [table, name],
        |row| row.get(0),
    )?;
    if !there {
        tx.execute_batch(&format!("ALTER TABLE \"{table}\" ADD COLUMN {declaration}"))?;
    }
    Ok(())
}

/// What the file says it is.
struct State {
    application_id: i32,
    version: i64,
}

fn state(conn: &Connection) -> rusqlite::Result<State> {
    Ok(State {
        application_id: conn.query_row("PRAGMA application_id", [], |row| row.get(0))?,
        version: conn.query_row("PRAGMA user_version", [], |row| row.get(0))?,
    })
}

/// Whether the file may be used with `schema`; `true` when it is up to date.
pub(super) fn check(conn: &Connection, path: &Path, schema: &Schema) -> Result<bool, DbError> {
    let sqlite = |error| DbError::from_sqlite(path, error);
    let state = state(conn).map_err(sqlite)?;
    let foreign = |why: String| DbError::Foreign { path: path.into(), what: schema.what, why };
    if state.application_id == schema.application_id {
        if state.version > schema.version() {
            return Err(DbError::TooNew { path: path.into(), found: state.version, known: schema.version() });
        }
        return Ok(state.version == schema.version());
    }
    if state.application_id != 0 {
        return Err(foreign(format!("its application_id is {:#010x}", state.application_id)));
    }
    // No application_id: new, or the earlier desktop app's.
    let mut names = conn
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )
        .map_err(sqlite)?;
    let names: Vec<String> =
        names.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(sqlite)?;
    if !names.is_empty() && !names.iter().any(|name| schema.legacy_tables.contains(&name.as_str())) {
        return Err(foreign(format!("it holds other tables, {} for one", names[0])));
    }
    Ok(false)
}

/// Brings the database up to date, in one IMMEDIATE transaction; at most one of many processes does it.
pub(super) fn migrate(conn: &mut Connection, path: &Path, schema: &Schema) -> Result<(), DbError> {
    let sqlite = |error| DbError::from_sqlite(path, error);
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
    if check(&tx, path, schema)? {
        return Ok(());
    }
    let state = state(&tx).map_err(sqlite)?;
    let from = if state.application_id == schema.application_id { state.version } else { 0 };
    let skip = usize::try_from(from).unwrap_or(0);
    for step in schema.migrations.iter().skip(skip) {
        step(&tx).map_err(sqlite)?;
    }
    tx.pragma_update(None, "application_id", schema.application_id).map_err(sqlite)?;
    tx.pragma_update(None, "user_version", schema.version()).map_err(sqlite)?;
    tx.commit().map_err(sqlite)
}
