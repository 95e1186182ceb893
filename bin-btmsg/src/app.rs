//! What every command needs: who speaks, the configuration, the database, where output goes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agor_common::db::rusqlite::{Connection, Transaction};
use agor_common::db::{Access, Db, DbError, Durability, Options};
use agor_common::mail::agents::{self, Agent, Found};
use agor_common::mail::{self, audit, presence};
use agor_common::output::Out;
use agor_common::{config as file, paths};
use serde::Serialize;
use serde_json::Value;

use crate::config::{self, Config};
use crate::error::Error;

/// How long an agent whose supervisor has only just started waits to be registered: as long as for a lock, since that,
/// or a slow disk, is what keeps the supervisor.
const REGISTRATION: Duration = Duration::from_secs(5);

/// The result of a command.
pub type Done<T = ()> = Result<T, Error>;

/// One invocation.
pub struct App {
    /// The table of the configuration file.
    pub config: Config,
    /// Whether JSON is wanted.
    pub json: bool,
    /// Standard output.
    pub out: Out,
    identity: Option<String>,
    path: PathBuf,
}

impl App {
    /// Reads the configuration; opens nothing yet.
    pub fn new(identity: Option<String>, json: bool) -> Done<App> {
        let config: Config = file::load("btmsg", None)?.value;
        let path = paths::mail_db()?;
        // An empty BTMSG_AGENT_ID is one that is not set.
        let identity = identity.filter(|id| !id.is_empty());
        Ok(App { config, json, out: Out::stdout(), identity, path })
    }

    /// The database's file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Opens to read; an older file is brought up to date first, if it may be.
    pub fn read(&self) -> Done<Db> {
        let db = mail::open(&self.path, Options::read())?;
        if db.is_current() {
            return Ok(db);
        }
        drop(db);
        Ok(mail::open(&self.path, Options { access: Access::Write, durability: Durability::PowerLoss })?)
    }

    /// Opens to write, with the configured durability; creates what is missing.
    pub fn write(&self) -> Done<Db> {
        let durability = match self.config.durability {
            config::Durability::PowerLoss => Durability::PowerLoss,
            config::Durability::Crash => Durability::Crash,
        };
        Ok(mail::open(&self.path, Options::create().durability(durability))?)
    }

    /// Opens to write without an fsync for every commit: for heartbeats.
    pub fn write_lightly(&self) -> Done<Db> {
        Ok(mail::open(&self.path, Options::create().durability(Durability::Crash))?)
    }

    /// Opens an existing file to write, or to read where it may only be read.
    pub fn write_or_read(&self) -> Done<Db> {
        let options = Options { access: Access::Write, durability: Durability::PowerLoss };
        match mail::open(&self.path, options) {
            Err(DbError::ReadOnly { .. }) => self.read(),
            other => Ok(other?),
        }
    }

    /// Who speaks, if anybody said so; empty for an operator in the audit trail.
    pub fn speaker(&self) -> &str {
        self.identity.as_deref().unwrap_or("")
    }

    /// Who speaks; an error where nobody said so.
    pub fn me(&self) -> Done<&str> {
        self.identity.as_deref().ok_or(Error::NoIdentity)
    }

    /// The speaker's row.
    pub fn my_row(&self, conn: &Connection) -> Done<Agent> {
        speaker(conn, self.me()?)
    }

    /// Waits a moment for the row of an agent whose supervisor has only just started: it registers the agent
    /// beside the start, and not before.
    pub fn await_registration(&self) {
        let Some(id) = self.identity.as_deref().filter(|id| presence::is_own(id)) else { return };
        if !presence::is_early() {
            return;
        }
        let until = Instant::now() + REGISTRATION;
        // What else is wrong with the database the command says itself.
        let is_there = || {
            let db = mail::open(&self.path, Options::read()).ok()?;
            agents::get(db.conn(), id).ok()?
        };
        while is_there().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The stall threshold of agents without one of their own, in seconds.
    pub fn stall_s(&self) -> i64 {
        seconds(self.config.stall_after)
    }

    /// Puts the file's name to an SQLite error.
    pub fn name_file(&self, error: Error) -> Error {
        match error {
            Error::Sql(error) => Error::Db(DbError::from_sqlite(&self.path, error)),
            other => other,
        }
    }

    /// One JSON object, led by `"schema": 1`, flushed.
    pub fn object(&mut self, body: &Value) -> Done {
        Ok(self.out.json(&Document { schema: 1, body })?)
    }

    /// A line of text.
    pub fn line(&mut self, line: impl AsRef<str>) -> Done {
        Ok(self.out.line(line)?)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u8,
    #[serde(flatten)]
    body: &'a Value,
}

/// Finds an agent by id or unique prefix.
pub fn find(conn: &Connection, typed: &str) -> Done<Agent> {
    match agents::find(conn, typed)? {
        Found::One(agent) => Ok(*agent),
        Found::Ambiguous(ids) => Err(Error::Ambiguous { what: "agent", typed: typed.into(), ids }),
        Found::None(near) => Err(Error::NoAgent { typed: typed.into(), near }),
    }
}

/// Finds who speaks, as [`find`] does; the agent of a supervisor is nobody's beginning, also while it is not
/// registered.
pub fn speaker(conn: &Connection, id: &str) -> Done<Agent> {
    if !presence::is_own(id) {
        return find(conn, id);
    }
    agents::get(conn, id)?.ok_or_else(|| Error::NoAgent { typed: id.into(), near: Vec::new() })
}

/// The id that a filter means, by which rows are chosen: one that rows have (`sql` says whether `?1` is) is meant as
/// it is, whoever is registered; then an agent's or its unique beginning; and a word that is neither chooses nothing.
pub fn filter(conn: &Connection, typed: Option<&str>, sql: &str) -> Done<Option<String>> {
    let Some(typed) = typed else { return Ok(None) };
    if conn.prepare(sql)?.exists([typed])? {
        return Ok(Some(typed.to_owned()));
    }
    match find(conn, typed) {
        Ok(agent) => Ok(Some(agent.id)),
        Err(Error::NoAgent { typed, .. }) => Ok(Some(typed)),
        Err(error) => Err(error),
    }
}

/// Writes an audit row whose detail is JSON.
pub fn audit(tx: &Transaction<'_>, agent: &str, event: &str, detail: &Value) -> Done<i64> {
    Ok(audit::append(tx, agent, event, &detail.to_string())?)
}

/// Whole seconds of a duration.
pub fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Milliseconds of a duration.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
