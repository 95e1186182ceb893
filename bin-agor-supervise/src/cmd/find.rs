//! Where the answers come from: the state file, which a supervisor keeps up to date whatever becomes of the
//! database, else the database, which remembers for longer.

use agor_common::db::Options;
use agor_common::mail::{self, presence};
use agor_common::paths;
use agor_common::sessions::{self, Supervised};

use crate::error::SuperviseError;
use crate::place::{Place, State, all_states};

/// The run of that name.
pub(super) fn run(name: &str) -> Result<Supervised, SuperviseError> {
    if let Some(state) = Place::of(name, false)?.read()
        && state.run.name == name
    {
        return Ok(state.into_run());
    }
    let unknown = || SuperviseError::Unknown(name.to_owned());
    let Some(db) = sessions::open_existing(&paths::sessions_db()?)? else { return Err(unknown()) };
    sessions::by_name(&db, name)?.ok_or_else(unknown)
}

/// Every run, by name. A database that cannot be read hides only what has ended.
pub(super) fn all() -> Result<Vec<Supervised>, SuperviseError> {
    let mut runs: Vec<Supervised> =
        all_states(&paths::Env::current().runtime_dir()?).into_iter().map(State::into_run).collect();
    match paths::sessions_db()
        .map_err(SuperviseError::from)
        .and_then(|path| Ok(sessions::open_existing(&path)?))
    {
        Ok(Some(db)) => {
            for run in sessions::list(&db)? {
                if !runs.iter().any(|known| known.name == run.name) {
                    runs.push(run);
                }
            }
        }
        Ok(None) => {}
        Err(error) if runs.is_empty() => return Err(error),
        Err(error) => {
            let line = agor_common::error::one_line(&error);
            agor_common::output::warning(crate::TOOL, &format!("only the latest runs are shown: {line}"));
        }
    }
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(runs)
}

/// The age of the agent's heartbeat in seconds; none where there is no agent, no heartbeat or no database.
pub(super) fn heartbeat_age_s(run: &Supervised) -> Option<f64> {
    let agent = run.agent_id.as_deref()?;
    let db = mail::open(&paths::mail_db().ok()?, Options::read()).ok()?;
    let beat = presence::heartbeat(db.conn(), agent).ok()??;
    Some(beat.age_ms(&presence::Clock::now()) as f64 / 1000.0)
}
