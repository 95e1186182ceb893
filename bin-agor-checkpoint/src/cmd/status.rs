//! A look: sizes and who is in the way. It opens no database, so it leaves no trace and waits for nothing.

use std::path::Path;

use agor_common::db::files::{self, Header, Index};
use agor_common::db::{DbError, locks};
use agor_common::output::Out;
use agor_common::{Exit, Failure as _, error, text, time};
use serde::Serialize;

use crate::config::{Config, Target};
use crate::failure::Error;
use crate::output::{ErrorLine, HolderLine};
use crate::report::combine;
use crate::seen::{InTheWay, Seen};
use crate::size::human;
use crate::{TOOL, litestream, output};

#[derive(Serialize)]
struct StatusLine<'a> {
    schema: u8,
    time: String,
    database: String,
    state: &'static str,
    db_bytes: Option<u64>,
    wal_bytes: Option<u64>,
    page_bytes: Option<u32>,
    frames: Option<u32>,
    frames_moved: Option<u32>,
    litestream: Option<bool>,
    holders: Vec<HolderLine<'a>>,
    error: Option<ErrorLine>,
}

/// What is known of a database.
struct Status {
    state: &'static str,
    db_bytes: u64,
    wal_bytes: u64,
    page_size: Option<u32>,
    /// The WAL index, where some process keeps it up to date.
    index: Option<Index>,
    litestream: bool,
    holders: Vec<InTheWay>,
}

pub(crate) fn run(config: &Config) -> Result<Exit, Error> {
    let mut out = Out::stdout();
    let mut seen = Seen::default();
    let mut exits = Vec::new();
    for target in &config.targets {
        let status = look(&target.path, &mut seen);
        let (value, line, exit) = match &status {
            Ok(status) => (row(target, status.state, Some(status)), describe(target, status), Exit::OK),
            Err(DbError::Missing { .. }) if !target.named => {
                (row(target, "missing", None), name(target) + ": missing", Exit::OK)
            }
            Err(failure) => {
                agor_common::output::error(TOOL, &error::one_line(failure), failure.hint().as_deref());
                let state = match failure {
                    DbError::Missing { .. } => "missing",
                    DbError::NotADatabase { .. } => "not_a_database",
                    _ => "unknown",
                };
                let error = Some(ErrorLine::new(failure));
                (StatusLine { error, ..row(target, state, None) }, String::new(), failure.exit())
            }
        };
        exits.push(exit);
        if config.json {
            out.json(&value)?;
        } else if !line.is_empty() {
            out.line(line)?;
        }
    }
    out.flush()?;
    Ok(combine(exits))
}

fn look(path: &Path, seen: &mut Seen) -> Result<Status, DbError> {
    let open = |source| DbError::Open { path: path.into(), source };
    let meta = match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(open(std::io::ErrorKind::IsADirectory.into())),
        Ok(meta) if !meta.is_file() => return Err(DbError::NotADatabase { path: path.into() }),
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DbError::Missing { path: path.into() });
        }
        Err(error) => return Err(open(error)),
    };
    let (state, page_size) = match Header::read(path).map_err(open)? {
        Header::Empty => ("empty", None),
        Header::Foreign => return Err(DbError::NotADatabase { path: path.into() }),
        Header::Database { wal: true, page_size, .. } => ("wal", Some(page_size)),
        Header::Database { wal: false, page_size, .. } => ("not_wal", Some(page_size)),
    };
    // An index that no process has open may be left from before a crash.
    let index = if locks::is_connected(path) { Index::read(path) } else { None };
    Ok(Status {
        state,
        db_bytes: meta.len(),
        wal_bytes: files::wal_bytes(path),
        page_size,
        index,
        litestream: litestream::has_directory(&files::real(path)),
        holders: seen.look(path, index.as_ref()),
    })
}

fn name(target: &Target) -> String {
    text::single_line(&target.path.to_string_lossy())
}

fn describe(target: &Target, status: &Status) -> String {
    let mut line = format!("{}: {}", name(target), human(status.db_bytes));
    match status.state {
        "not_wal" => line.push_str(", not a WAL database"),
        _ => line.push_str(&format!(", WAL {}", human(status.wal_bytes))),
    }
    if let Some(index) = &status.index {
        line.push_str(&format!(", {} of {} frames moved", index.moved, index.frames));
    }
    if status.litestream {
        line.push_str(", replicated by Litestream");
    }
    for one in &status.holders {
        line.push_str("\n  ");
        line.push_str(&text::single_line(&output::describe(one)));
    }
    line
}

fn row<'a>(target: &Target, state: &'static str, status: Option<&'a Status>) -> StatusLine<'a> {
    let index = status.and_then(|status| status.index);
    StatusLine {
        schema: 1,
        time: time::now_rfc3339(),
        database: target.path.to_string_lossy().into_owned(),
        state,
        db_bytes: status.map(|status| status.db_bytes),
        wal_bytes: status.map(|status| status.wal_bytes),
        page_bytes: status.and_then(|status| status.page_size),
        frames: index.map(|index| index.frames),
        frames_moved: index.map(|index| index.moved),
        litestream: status.map(|status| status.litestream),
        holders: status.map_or(&[][..], |status| &status.holders).iter().map(HolderLine::new).collect(),
        error: None,
    }
}
