//! What the fuzz targets check, as plain functions: `fuzz_targets/` are three lines each, and the seeds are
//! run through the same functions by `cargo test --manifest-path fuzz/Cargo.toml`.
//!
//! A target finds a panic, a hang or an overflow by itself; beyond that each asserts what must hold of the
//! answer: what was accepted comes out the same again, what was refused names a place that exists.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use agor_common::config::{ConfigError, TABLES, parse};
use agor_common::trace_context::TraceParent;
use agor_common::{mail, text, time};

/// The configuration file, as every tool reads its table of it.
pub fn config(data: &[u8]) {
    let Ok(file) = std::str::from_utf8(data) else { return };
    let lines = file.split('\n').count();
    let mut accepted = 0;
    for table in TABLES {
        match parse::<toml::Table>(file, table, Path::new("agor.toml")) {
            Ok(_) => accepted += 1,
            Err(ConfigError::Parse { line, why, .. }) => {
                assert!((1..=lines).contains(&line), "line {line} of {lines}: {why}");
                assert!(!why.contains('\n'), "{why:?}");
            }
            Err(error @ ConfigError::Read { .. }) => panic!("nothing is read here: {error}"),
        }
    }
    if let Ok(settings) = parse::<agor_sandbox::profile::Settings>(file, "sandbox", Path::new("agor.toml")) {
        assert!(accepted > 0, "a tool accepts what is no TOML");
        for name in settings.profile.keys() {
            // A profile that extends itself, over however many others, must end.
            let _ = agor_sandbox::profile::resolve(name, &settings.profile);
        }
    }
}

/// `TRACEPARENT`: only what the W3C recommendation calls valid, and printed as it was read.
pub fn traceparent(data: &[u8]) {
    let Ok(value) = std::str::from_utf8(data) else { return };
    let Some(parent) = TraceParent::parse(value) else { return };
    let printed = parent.to_string();
    assert_eq!(printed.len(), 55);
    assert_eq!(printed[2..52], value.trim()[2..52], "{value:?} became {printed:?}");
    assert_eq!(TraceParent::parse(&printed), Some(parent));
    assert!(!value.starts_with("ff") && !printed.contains("-0000000000000000-"));
}

/// Ids of agents, and their forms elsewhere: on a terminal, cut to a preview.
pub fn ids(data: &[u8]) {
    let id = String::from_utf8_lossy(data);
    let line = text::single_line(&id);
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert_eq!(text::single_line(&line), line, "escaping twice is escaping once");
    assert!(text::preview(&id, 20).chars().next().is_none() == id.is_empty());
    let whole = text::terminal(&id);
    assert!(!whole.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{whole:?}");
    if mail::agents::id_problem(&id).is_none() {
        assert!(!id.is_empty() && id.len() <= mail::agents::MAX_ID);
        assert_eq!(line, id, "an id that is accepted needs no escaping");
    }
    if let Some(ms) = time::parse_ms(&id) {
        let printed = time::rfc3339_ms(ms);
        if let Some(again) = time::parse_ms(&printed) {
            assert_eq!(time::rfc3339_ms(again), printed);
        }
        let _ = time::legacy(ms);
    }
}

/// The sandbox's command line: its own parser takes nothing that clap would refuse, and both mean the same.
pub fn sandbox_args(data: &[u8]) {
    let words: Vec<OsString> =
        data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    if let Some(word) = words.first() {
        let _ = agor_sandbox::rlimit::Limit::parse_flag(word);
    }
    let Ok(args) = agor_sandbox::args::Args::parse(words.iter().cloned()) else { return };
    if args.options.iter().any(|(_, value)| value.as_bytes().starts_with(b"-")) {
        // As getopt_long(3) does it, the word after `--rw` is its value whatever it looks like; clap asks for `=`.
        return;
    }
    let with_name = std::iter::once(OsString::from("agor-sandbox")).chain(words.iter().cloned());
    if let Err(error) = agor_sandbox::command().try_get_matches_from(with_name) {
        // Values are clap's to check only where clap parses at all; their shape is what is compared.
        assert!(
            !matches!(
                error.kind(),
                clap::error::ErrorKind::UnknownArgument | clap::error::ErrorKind::MissingRequiredArgument
            ),
            "{words:?} was accepted: {error}"
        );
    }
    let dashes = words.iter().position(|word| word == OsStr::new("--"));
    if let Some(at) = dashes
        && args.command.len() > words.len() - at
    {
        panic!("{words:?} has a command of {:?}", args.command);
    }
    assert!(args.command.iter().all(|word| words.iter().any(|given| given.as_bytes() == word.as_bytes())));
}

/// A line of an NDJSON batch of messages, and the values of btmsg's options.
pub fn ndjson_batch(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        btmsg::fuzz::batch_line(line);
        if let Ok(text) = std::str::from_utf8(line) {
            btmsg::fuzz::values(text);
        }
    }
}

/// Messages between relay and client, and the relay's settings.
pub fn relay_message(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        agor_relay::fuzz::message(text);
        agor_relay::fuzz::values(text);
    }
}

/// A session's output on its way into events.
pub fn relay_lines(data: &[u8]) {
    agor_relay::fuzz::lines(data);
}

/// What a supervised command says of itself, and secrets in what it says.
pub fn supervised(data: &[u8]) {
    agor_supervise::fuzz::said(data);
    agor_supervise::fuzz::mask(data);
}
