use super::*;
use crate::db::rusqlite;
use crate::process::Identity;

fn run(name: &str, health: Health) -> Supervised {
    Supervised {
        name: name.into(),
        agent_id: Some("a1".into()),
        run_id: format!("run-{name}"),
        command: vec!["sleep".into(), "9".into()],
        cwd: "/".into(),
        supervisor: Identity::current(),
        health,
        attempt: 0,
        max_attempts: 5,
        error: None,
        reason: None,
        status_text: None,
        isolation: "keeper".into(),
        incarnation: 1,
        child: None,
        child_since_ms: None,
        last_exit: None,
        restarts: 0,
        started_ms: 1_000,
        updated_ms: 2_000,
        ended_ms: None,
    }
}

fn write(db: &mut Db, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) {
    let path = db.path().to_path_buf();
    db.write(|tx| work(tx).map_err(|error| DbError::from_sqlite(&path, error))).unwrap();
}

#[test]
fn rows_come_back_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(&dir.path().join("sessions.db"), Options::create()).unwrap();
    let mut restarting =
        run("b", Health::Restarting { attempt: 2, next_retry_ms: 1_795_437_045_678, max_attempts: 5 });
    restarting.attempt = 2;
    restarting.error = Some("exit 1".into());
    restarting.child = Some(Identity { pid: 7, ..Identity::current() });
    let mut failed = run("c", Health::Failed { attempts: 5, last_error: "exit 3: boom".into() });
    failed.attempt = 5;
    failed.error = Some("exit 3: boom".into());
    failed.agent_id = None;
    let all = [run("a", Health::Healthy), restarting, failed];
    for run in &all {
        write(&mut db, |tx| save(tx, run));
    }
    assert_eq!(list(&db).unwrap(), all);
    assert_eq!(by_name(&db, "b").unwrap().as_ref(), Some(&all[1]));
    assert_eq!(by_name(&db, "z").unwrap(), None);
}

#[test]
fn of_runs_without_a_name_only_the_last_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(&dir.path().join("sessions.db"), Options::create()).unwrap();
    let ended = |name: &str, pid: i32| {
        let supervisor = Identity { pid, ..Identity::current() };
        let at = 10_000 + i64::from(pid);
        Supervised { supervisor, agent_id: None, ended_ms: Some(at), ..run(name, Health::Stopped) }
    };
    write(&mut db, |tx| {
        save(tx, &ended("mine-1", 7))?;
        save(tx, &Supervised { ended_ms: None, ..ended("true-8", 8) })?;
        for pid in 1_000..1_150 {
            let run = ended(&format!("true-{pid}"), pid);
            incarnation_started(tx, (&run.name, &run.run_id), 1, 0, Some(pid), 1)?;
            save(tx, &run)?;
        }
        Ok(())
    });
    let names: Vec<String> = list(&db).unwrap().into_iter().map(|run| run.name).collect();
    let kept: Vec<String> = (1_050..1_150).map(|pid| format!("true-{pid}")).collect();
    assert_eq!(names[1..=100], kept);
    assert_eq!([&names[0], &names[101]], ["mine-1", "true-8"]);
    for (table, rows) in [("incarnations", 100), ("session_metrics", 102)] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(db.conn().query_row(&sql, [], |row| row.get::<_, i64>(0)), Ok(rows), "{table}");
    }
}

#[test]
fn a_dead_supervisor_is_never_healthy() {
    let alive = run("a", Health::Healthy);
    assert!(alive.is_healthy());
    let mut dead = alive.clone();
    dead.supervisor.start += 1;
    assert!(!dead.is_healthy());
    assert_eq!(dead.supervisor_state(), SupervisorState::Lost);
    let mut ended = alive;
    ended.ended_ms = Some(1);
    assert_eq!(ended.supervisor_state(), SupervisorState::Ended);
    assert!(!ended.is_healthy());
}

#[test]
fn lost_runs_are_closed_and_history_is_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(&dir.path().join("sessions.db"), Options::create()).unwrap();
    let lost = run("a", Health::Healthy);
    write(&mut db, |tx| {
        save(tx, &lost)?;
        incarnation_started(tx, ("a", &lost.run_id), 1, 0, Some(4), 1_000)?;
        incarnation_started(tx, ("a", &lost.run_id), 1, 0, Some(4), 1_000)?;
        close_lost(tx, "a", "run-2", 3_500)?;
        incarnation_started(tx, ("a", "run-2"), 2, 1, Some(5), 4_000)?;
        let end = IncarnationEnd {
            ended_ms: 5_000,
            duration_s: 1.0,
            signal: Some(9),
            reason: "crash".into(),
            ..Default::default()
        };
        incarnation_ended(tx, ("a", "run-2"), 2, &end)
    });
    let rows = history(&db, "a", 10).unwrap();
    assert_eq!(rows.iter().map(|row| row.incarnation).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((rows[0].signal, rows[0].reason.as_deref()), (Some(9), Some("crash")));
    assert_eq!((rows[1].duration_s, rows[1].reason.as_deref()), (Some(2.5), Some("supervisor lost")));
    let status: String =
        db.conn().query_row("SELECT status FROM session_metrics", [], |row| row.get(0)).unwrap();
    assert_eq!(status, "error");
}

#[test]
fn a_legacy_file_reads_as_empty_and_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let legacy = rusqlite::Connection::open(&path).unwrap();
    legacy
        .execute_batch(
            "CREATE TABLE sessions (id TEXT PRIMARY KEY);
             CREATE TABLE session_metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, project_id TEXT NOT NULL,
                 session_id TEXT NOT NULL, start_time INTEGER NOT NULL, end_time INTEGER NOT NULL,
                 peak_tokens INTEGER DEFAULT 0, turn_count INTEGER DEFAULT 0, tool_call_count INTEGER DEFAULT 0,
                 cost_usd REAL DEFAULT 0, model TEXT, status TEXT NOT NULL, error_message TEXT);",
        )
        .unwrap();
    drop(legacy);
    let db = open_existing(&path).unwrap().unwrap();
    assert!(!db.is_current());
    assert_eq!(list(&db).unwrap(), []);
    assert_eq!(history(&db, "a", 5).unwrap(), []);
    let mut db = open(&path, Options::create()).unwrap();
    let ended = Supervised { ended_ms: Some(9_000), ..run("a", Health::Stopped) };
    write(&mut db, |tx| save(tx, &ended));
    assert_eq!(list(&db).unwrap()[0].ended_ms, Some(9_000));
    let (status, end): (String, i64) = db
        .conn()
        .query_row("SELECT status, end_time FROM session_metrics", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((status.as_str(), end), ("stopped", 9));
}

#[test]
fn a_missing_file_is_not_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open_existing(&dir.path().join("sessions.db")).unwrap().is_none());
}
