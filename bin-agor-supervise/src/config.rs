//! Arguments, environment and configuration file, made into one checked value.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agor_common::config;
use agor_common::mail::agents;
use serde::Deserialize;

use crate::cli::{self, Isolate, OnStall, Ready, RuleArgs, RunArgs, Stderr};
use crate::error::SuperviseError;
use crate::rule::{Backoff, Policy, Rule};

/// The longest name.
const LONGEST_NAME: usize = 128;

/// A duration in the file: a number of seconds, or text with units.
#[derive(Debug, Clone, Copy)]
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Text(String),
        }
        let text = match Either::deserialize(deserializer)? {
            Either::Number(seconds) => seconds.to_string(),
            Either::Text(text) => text,
        };
        cli::duration(&text).map(Time).map_err(serde::de::Error::custom)
    }
}

/// A duration in the file that is not zero.
#[derive(Debug, Clone, Copy)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        match Time::deserialize(deserializer)? {
            Time(Duration::ZERO) => Err(serde::de::Error::custom("it must be more than zero")),
            Time(time) => Ok(Span(time)),
        }
    }
}

/// A number in the file from 0 to 1.
#[derive(Debug, Clone, Copy)]
struct Fraction(f64);

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fraction, D::Error> {
        let value = f64::deserialize(deserializer)?;
        cli::fraction(&value.to_string()).map(Fraction).map_err(serde::de::Error::custom)
    }
}

/// The `[supervise]` table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    max_attempts: Option<u32>,
    backoff_base: Option<Time>,
    backoff_cap: Option<Time>,
    jitter: Option<Fraction>,
    stable_after: Option<Time>,
    restart: Option<Policy>,
    success_codes: Option<Vec<u8>>,
    no_retry_codes: Option<Vec<u8>>,
    stop_grace: Option<Time>,
    hold: Option<bool>,
    failed_exit: Option<u8>,
    isolate: Option<Isolate>,
    stall_after: Option<Span>,
    on_stall: Option<OnStall>,
    heartbeat: Option<Span>,
    on_event: Option<String>,
    log_dir: Option<PathBuf>,
    log_max_size: Option<u64>,
    log_keep: Option<u32>,
    observe: Option<bool>,
    stderr: Option<Stderr>,
}

/// `--log-dir` and its companions.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    /// Where.
    pub(crate) dir: PathBuf,
    /// When to rotate.
    pub(crate) max_size: u64,
    /// How many to keep.
    pub(crate) keep: u32,
}

/// How to run a command.
#[derive(Debug)]
pub(crate) struct Config {
    /// The supervised name.
    pub(crate) name: String,
    /// Nobody chose the name.
    pub(crate) auto_name: bool,
    /// The agent.
    pub(crate) agent: Option<String>,
    /// The restart rule.
    pub(crate) rule: Rule,
    /// Seed of the jitter.
    pub(crate) seed: u64,
    /// Exit status when given up.
    pub(crate) failed_exit: Option<u8>,
    /// Isolation.
    pub(crate) isolate: Isolate,
    /// `WATCHDOG=1` at least this often.
    pub(crate) watchdog: Option<Duration>,
    /// Neither output nor heartbeat for this long.
    pub(crate) stall_after: Option<Duration>,
    /// What then.
    pub(crate) on_stall: OnStall,
    /// Heartbeats for the agent.
    pub(crate) heartbeat: Option<Duration>,
    /// A shell command for every event.
    pub(crate) on_event: Option<String>,
    /// Log files.
    pub(crate) logs: Option<Logs>,
    /// Whether stdout goes through a pipe.
    pub(crate) observe: bool,
    /// Whether stderr does.
    pub(crate) stderr: Stderr,
    /// The command.
    pub(crate) command: Vec<OsString>,
}

fn table(file: Option<&Path>) -> Result<Table, SuperviseError> {
    Ok(config::load::<Table>("supervise", file)?.value)
}

fn rule(args: &RuleArgs, table: &Table) -> Rule {
    let time = |flag: Option<Duration>, file: Option<Time>, default: f64| {
        flag.or(file.map(|time| time.0)).unwrap_or(Duration::from_secs_f64(default))
    };
    let jitter = args.jitter.or(table.jitter.map(|fraction| fraction.0)).unwrap_or(0.0);
    let codes = |flag: Option<&Vec<u8>>, file: Option<&Vec<u8>>, default: u8| {
        flag.or(file).cloned().unwrap_or_else(|| vec![default])
    };
    Rule {
        max_attempts: args.max_attempts.or(table.max_attempts).unwrap_or(5),
        backoff: Backoff {
            base: time(args.backoff_base, table.backoff_base, 1.0),
            cap: time(args.backoff_cap, table.backoff_cap, 30.0),
            jitter,
        },
        stable_after: time(args.stable_after, table.stable_after, 300.0),
        policy: args.restart.or(table.restart).unwrap_or(Policy::OnFailure),
        success: codes(args.success_codes.as_ref(), table.success_codes.as_ref(), 0),
        no_retry: codes(args.no_retry_codes.as_ref(), table.no_retry_codes.as_ref(), 78),
        stop_grace: time(args.stop_grace, table.stop_grace, 10.0),
        hold: false,
        ready: false,
        ready_timeout: None,
    }
}

/// The rule alone, for `explain`.
pub(crate) fn rule_of(args: &RuleArgs, file: Option<&Path>) -> Result<Rule, SuperviseError> {
    Ok(rule(args, &table(file)?))
}

/// Checks everything. `pid` is the supervisor's, for a name that is not given.
pub(crate) fn of(args: RunArgs, pid: i32) -> Result<Config, SuperviseError> {
    let usage = |why: &str| SuperviseError::Usage(why.into());
    let Some(program) = args.command.first().filter(|program| !program.is_empty()) else {
        return Err(usage("no command to run: agor-supervise [OPTIONS] -- COMMAND [ARG]..."));
    };
    let table = table(args.config.as_deref())?;
    let agent = args.agent.filter(|agent| !agent.is_empty());
    let auto_name = args.name.is_none() && agent.is_none();
    let name = args.name.or_else(|| agent.clone()).unwrap_or_else(|| {
        let base = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        format!("{base}-{pid}")
    });
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(usage("a name must have 1 to 128 bytes and no control characters"));
    }
    if let Some(problem) = agent.as_deref().and_then(agents::id_problem) {
        return Err(usage(&format!("--agent: {problem}")));
    }
    let time = |flag: Option<Duration>, file: Option<Span>| flag.or(file.map(|time| time.0));
    let positive = |what: &str, value: Option<Duration>| match value {
        Some(Duration::ZERO) => Err(SuperviseError::Usage(format!("{what} must be more than zero"))),
        value => Ok(value),
    };
    let stall_after = positive("--stall-after", time(args.stall_after, table.stall_after))?;
    let heartbeat = match positive("--heartbeat", time(args.heartbeat, table.heartbeat))? {
        Some(every) if agent.is_some() => Some(every),
        _ => None,
    };
    let watchdog = positive("--watchdog", args.watchdog)?;
    let ready = args.ready == Some(Ready::Notify);
    if args.ready_timeout.is_some() && !ready {
        return Err(usage("--ready-timeout needs --ready notify"));
    }
    let logs = args.log_dir.or_else(|| table.log_dir.clone()).map(|dir| Logs {
        dir,
        max_size: args.log_max_size.or(table.log_max_size).unwrap_or(10 << 20),
        keep: args.log_keep.or(table.log_keep).unwrap_or(5),
    });
    let observe = args.observe
        || table.observe.unwrap_or(false)
        || stall_after.is_some()
        || heartbeat.is_some()
        || logs.is_some();
    let mut rule = rule(&args.rule, &table);
    rule.hold = args.hold || table.hold.unwrap_or(false);
    rule.ready = ready;
    rule.ready_timeout = args.ready_timeout;
    Ok(Config {
        name,
        auto_name,
        agent,
        rule,
        seed: args.rule.jitter_seed.unwrap_or_else(|| fastrand::u64(..)),
        failed_exit: args.failed_exit.or(table.failed_exit),
        isolate: args.isolate.or(table.isolate).unwrap_or(Isolate::Auto),
        watchdog,
        stall_after,
        on_stall: args.on_stall.or(table.on_stall).unwrap_or(OnStall::Restart),
        heartbeat,
        on_event: args.on_event.or(table.on_event).filter(|command| !command.is_empty()),
        logs,
        observe,
        stderr: args.stderr.or(table.stderr).unwrap_or(Stderr::Auto),
        command: args.command,
    })
}
