//! `doctor`: what is wrong with the database, also where nothing else can open it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use agor_common::db::files::Header;
use agor_common::db::rusqlite::Connection;
use agor_common::db::{Access, DbError, open_bare};
use agor_common::mail::audit;
use agor_common::{Exit, text};
use serde_json::json;

use super::operate::check;
use crate::app::{App, Done};
use crate::error::Error;

/// Checks every page, every index and the audit trail; changes nothing.
pub fn doctor(app: &mut App) -> Done<Exit> {
    let path = app.path().display().to_string();
    let (mut problems, pages) = match app.read() {
        Ok(db) => examine(db.conn())?,
        Err(Error::Db(DbError::Corrupt { .. })) => {
            // Its schema cannot be read; SQLite can still say which pages are broken.
            let conn = open_bare(app.path(), Access::Read)?;
            examine(&conn)?
        }
        Err(error) => return Err(error),
    };
    if !problems.is_empty() {
        // After the connection is closed: reading the file beside it would drop its locks.
        problems.extend(strange_pages(app.path()).unwrap_or_default().into_iter().take(20));
    }
    problems.dedup();
    if app.json {
        app.object(
            &json!({ "path": path, "ok": problems.is_empty(), "pages": pages, "problems": problems }),
        )?;
    } else if problems.is_empty() {
        app.line(format!("{}: {} pages, nothing wrong", text::single_line(&path), pages.unwrap_or(0)))?;
    } else {
        for problem in &problems {
            app.line(text::single_line(problem))?;
        }
    }
    if problems.is_empty() {
        return Ok(Exit::OK);
    }
    Err(Error::Data(format!("{path}: damaged, {} problems: restore it from a copy", problems.len())))
}

/// What is wrong, and how many pages there are where that can be said.
fn examine(conn: &Connection) -> Done<(Vec<String>, Option<i64>)> {
    let pages = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).ok();
    let mut problems = match check(conn) {
        Ok(problems) => problems,
        Err(Error::Sql(error)) => vec![error.to_string()],
        Err(error) => return Err(error),
    };
    if problems.is_empty()
        && let Some((row, why)) = audit::verify(conn)?.broken
    {
        problems.push(format!("audit row {row}: {why}"));
    }
    Ok((problems, pages))
}

/// The pages of the main file that are of no kind that there is (sqlite.org/fileformat2.html, section 1.2): no
/// node of a tree, and no page of a chain, which begins with the number of the next one. SQLite's own check gives
/// up without a name where it meets the root of a tree among them.
fn strange_pages(path: &Path) -> io::Result<Vec<String>> {
    let Header::Database { page_size, .. } = Header::read(path)? else { return Ok(Vec::new()) };
    let mut file = io::BufReader::new(File::open(path)?);
    let count = file.get_ref().metadata()?.len() / u64::from(page_size);
    let mut page = vec![0; page_size as usize];
    let mut strange = Vec::new();
    for number in 1..=count {
        file.read_exact(&mut page)?;
        let body = if number == 1 { &page[100..] } else { &page[..] };
        let next = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
        let is_node = matches!(body[0], 2 | 5 | 10 | 13);
        if !is_node && (number == 1 || u64::from(next) > count) {
            strange.push(format!("page {number}: neither a tree's, an overflow's nor a free one"));
        }
    }
    Ok(strange)
}
