//! A wall clock that was set: what is due by it is moved along.
//!
//! Leases, delays and times to live are stored as moments of the wall clock, which older clients and people can
//! read. So that a clock set forward does not end them all at once, and one set back does not hold a dead worker's
//! message for an hour, the distance between the wall clock and `CLOCK_BOOTTIME` (which nobody can set, and which
//! goes on in a suspend) is kept; where it has changed within one boot, every moment of unread mail changes with it.

use agor_common::db::rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use agor_common::{process, time};
use serde_json::json;

use crate::app::{self, Done};

const META: &str = "clock";

/// A change smaller than this is the clock's own discipline, in ms.
const STEP_MS: i64 = 20_000;

/// Whose clock (see [`process::clock_id`]; empty where that cannot be known), and how far the wall clock is ahead of
/// it, in ms.
fn now() -> (String, i64) {
    (process::clock_id(), apart(boot_ms, time::now_ms))
}

fn boot_ms() -> i64 {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    since.tv_sec * 1000 + since.tv_nsec / 1_000_000
}

/// How far `wall` is ahead of `boot`, both in ms. They are read one after the other, and a process that is stopped or
/// suspended between the two would find the wall clock set by that long: then they are read again.
fn apart(mut boot: impl FnMut() -> i64, mut wall: impl FnMut() -> i64) -> i64 {
    let mut before = boot();
    let mut best: Option<(i64, i64)> = None;
    for _ in 0..16 {
        let wall = wall();
        let after = boot();
        let took = after - before;
        if best.is_none_or(|(least, _)| took < least) {
            best = Some((took, wall - before));
        }
        if took <= 1 {
            break;
        }
        before = after;
    }
    best.map_or(0, |(_, apart)| apart)
}

/// By how many ms the wall clock was set since this was last written down; `None` where it was not, or where
/// that cannot be known (another boot, or for the first time).
fn step(conn: &Connection) -> Done<Option<i64>> {
    let (boot, ahead) = now();
    Ok(stored(conn)?
        .filter(|(known, _)| *known == boot)
        .map(|(_, was)| ahead - was)
        .filter(|step| is_step(*step)))
}

/// Whether what is stored is by another clock than this process's, or by one that nobody wrote down.
pub fn is_other(conn: &Connection) -> Done<bool> {
    let (boot, ahead) = now();
    Ok(!boot.is_empty() && stored(conn)?.is_none_or(|(known, was)| known != boot || is_step(ahead - was)))
}

/// [`follow`] where it is needed: in the transaction of what stores a moment (a lease, a delay, a time to live), so
/// that all of them are by the one clock that is written down, also where two processes see different ones.
pub fn keep(tx: &Transaction<'_>, by: &str) -> Done {
    if is_other(tx)? {
        follow(tx, by)?;
    }
    Ok(())
}

fn is_step(ms: i64) -> bool {
    ms.abs() >= STEP_MS
}

fn stored(conn: &Connection) -> Done<Option<(String, i64)>> {
    let text: Option<String> = conn
        .prepare_cached("SELECT value FROM mail_meta WHERE key = ?1")?
        .query_row([META], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| {
        let (boot, ahead) = text.rsplit_once(' ')?;
        Some((boot.to_owned(), ahead.parse().ok()?))
    }))
}

/// Moves what is due along with a clock that was set, and writes the clock down; returns by how many ms.
pub fn follow(tx: &Transaction<'_>, by: &str) -> Done<Option<i64>> {
    let moved = step(tx)?;
    let (boot, ahead) = now();
    if boot.is_empty() {
        return Ok(None);
    }
    tx.execute(
        "INSERT OR REPLACE INTO mail_meta (key, value) VALUES (?1, ?2)",
        params![META, format!("{boot} {ahead}")],
    )?;
    let Some(ms) = moved else { return Ok(None) };
    // NULL plus anything is NULL. The index on unread mail keeps this off the rest of the table.
    let messages = tx.execute(
        "UPDATE messages INDEXED BY idx_messages_queue SET lease_until_ms = lease_until_ms + ?1,
             not_before_ms = not_before_ms + ?1, expires_ms = expires_ms + ?1
         WHERE read = 0 AND coalesce(lease_until_ms, not_before_ms, expires_ms) IS NOT NULL",
        [ms],
    )?;
    let letters = tx.execute(
        "UPDATE dead_letter_queue SET expires_ms = expires_ms + ?1
         WHERE redriven_ms IS NULL AND purged_ms IS NULL AND expires_ms IS NOT NULL",
        [ms],
    )?;
    app::audit(tx, by, "clock_set", &json!({ "by_ms": ms, "messages": messages, "dead_letters": letters }))?;
    Ok(Some(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_stop_between_two_readings_is_no_clock_that_was_set() {
        // 1000 ms apart; after the n-th reading the process is stopped for an hour.
        for n in 0..4 {
            let (clock, readings) = (Cell::new(0), Cell::new(0));
            let read = || {
                let now = clock.get();
                clock.set(now + if readings.replace(readings.get() + 1) == n { 3_600_000 } else { 0 });
                now
            };
            assert_eq!(apart(read, || read() + 1000), 1000, "{n}");
        }
    }
}
