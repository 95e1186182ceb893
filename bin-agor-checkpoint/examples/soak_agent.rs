//! An agent for `tests/soak/checkpoint` and `tests/bench/checkpoint`: writes to, or reads from, databases
//! until it is killed.
//!
//! `soak_agent write NAME SEED DB…` prints `DB-INDEX NUMBER MILLISECONDS` after each commit;
//! `soak_agent commit DB` commits a row of 1 KiB every 2 ms, through the library as all agor programs do,
//! until its stdin is closed; it then prints `BEGIN END` of each, in nanoseconds of CLOCK_MONOTONIC.
//! `soak_agent read SEED DB…` opens snapshots, keeps each for a while, and checks that it stays the same.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agor_common::db::rusqlite::{Connection, Result, TransactionBehavior};

fn open(path: &str) -> Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(Duration::from_secs(60))?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // The checkpointer alone is to empty the logs.
    conn.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?;
    conn.execute_batch("CREATE TABLE IF NOT EXISTS t (name TEXT, number INTEGER, body BLOB)")?;
    Ok(conn)
}

fn write(name: &str, seed: u64, paths: &[String]) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut conns = paths.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
    let mut out = std::io::stdout().lock();
    for number in 0i64.. {
        let at = random.usize(..conns.len());
        // Mostly messages; now and then a transaction of a megabyte or two.
        let rows = if random.u32(..200) == 0 { random.usize(100..500) } else { 1 };
        let started = Instant::now();
        let tx = conns[at].transaction_with_behavior(TransactionBehavior::Immediate)?;
        for _ in 0..rows {
            let size = random.u32(10..4000);
            tx.execute("INSERT INTO t VALUES (?1, ?2, randomblob(?3))", (name, number, size))?;
        }
        tx.commit()?;
        let line = format!("{at} {number} {:.3}\n", started.elapsed().as_secs_f64() * 1000.0);
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        // The data stays small, and there is something to overwrite.
        if random.u32(..500) == 0 {
            conns[at]
                .execute("UPDATE t SET body = randomblob(100) WHERE name = ?1 AND number % 7 = 0", [name])?;
        }
        std::thread::sleep(Duration::from_millis(random.u64(5..60)));
    }
    Ok(())
}

fn read(seed: u64, paths: &[String]) -> Result<bool> {
    let mut random = fastrand::Rng::with_seed(seed);
    let conns = paths.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
    loop {
        let conn = &conns[random.usize(..conns.len())];
        let count = |conn: &Connection| {
            conn.query_row("SELECT count(*), total(number) FROM t", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?))
            })
        };
        conn.execute_batch("BEGIN")?;
        let before = count(conn)?;
        let long = random.u32(..10) == 0;
        std::thread::sleep(Duration::from_millis(if long {
            random.u64(500..2500)
        } else {
            random.u64(1..50)
        }));
        if count(conn)? != before {
            return Ok(false);
        }
        conn.execute_batch("COMMIT")?;
        std::thread::sleep(Duration::from_millis(random.u64(10..300)));
    }
}

fn commit(path: &str) -> Result<()> {
    let mut conn = open(path)?;
    conn.busy_handler(Some(|_| {
        std::thread::sleep(Duration::from_micros(fastrand::u64(300..1300)));
        true
    }))?;
    let stop = std::thread::spawn(|| std::io::stdin().read_line(&mut String::new()));
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    let mut times = Vec::new();
    while !stop.is_finished() {
        let begin = now();
        conn.execute("INSERT INTO t (body) VALUES (randomblob(1024))", [])?;
        times.push((begin, now()));
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut out = std::io::stdout().lock();
    for (begin, end) in times {
        let _ = writeln!(out, "{begin} {end}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse().unwrap_or(0);
    let done = match args.first().map(String::as_str) {
        Some("write") if args.len() > 3 => write(&args[1], number(&args[2]), &args[3..]).map(|()| true),
        Some("commit") if args.len() == 2 => commit(&args[1]).map(|()| true),
        Some("read") if args.len() > 2 => read(number(&args[1]), &args[2..]),
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let _ = std::io::stderr().write_all(b"soak_agent: a snapshot changed\n");
            ExitCode::from(9)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "soak_agent: {error}");
            ExitCode::from(8)
        }
    }
}
