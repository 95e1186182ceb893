//! Reading columns that somebody else may have written.

use rusqlite::types::ValueRef;

use crate::db::rusqlite;

/// A column as text, whatever is in it, and whether it was valid: a row that holds invalid UTF-8 or a number
/// where text belongs must never hide the others. NULL is empty and valid.
pub fn text(value: ValueRef<'_>) -> (String, bool) {
    match value {
        ValueRef::Null => (String::new(), true),
        ValueRef::Integer(n) => (n.to_string(), true),
        ValueRef::Real(n) => (n.to_string(), true),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), true),
            Err(_) => (String::from_utf8_lossy(bytes).into_owned(), false),
        },
    }
}

/// [`text`] of a column, without its validity.
pub fn string(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<String> {
    Ok(text(row.get_ref(column)?).0)
}

/// [`string`], `None` for NULL.
pub fn optional(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        value => Some(text(value).0),
    })
}

/// A whole number; anything else is `None`.
pub fn integer(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(n) => Some(n),
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and this is somebody else's value")]
        ValueRef::Real(n) => Some(n as i64),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok()),
        ValueRef::Null | ValueRef::Blob(_) => None,
    })
}
