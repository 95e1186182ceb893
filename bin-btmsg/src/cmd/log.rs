//! `log`: events of what cannot link an SDK (a shell script, a hook, a web view), handed to telemetry.

use std::io::BufRead as _;

use agor_common::telemetry;
use agor_common::{Exit, output};
use serde_json::{Map, Value, json};

use crate::app::{App, Done};
use crate::error::Error;
use crate::{TOOL, cli};

/// Hands one event, or the NDJSON on stdin, to telemetry.
pub fn log(app: &mut App, args: cli::Log) -> Done<Exit> {
    // What happened shows in the trace as events of this span.
    let span = tracing::info_span!("btmsg.log");
    telemetry::parent_from_env(&span);
    let _in = span.enter();
    let source = args.source.unwrap_or_else(|| match app.speaker() {
        "" => "shell".into(),
        agent => agent.to_owned(),
    });
    if args.level == "-" {
        return stream(app, &source);
    }
    let level = level(&args.level).ok_or_else(|| {
        Error::Usage(format!("log: '{}' is none of trace, debug, info, warn, error", args.level))
    })?;
    let event = args.event.ok_or_else(|| Error::Usage("log: the event is missing".into()))?;
    let mut attributes = Vec::with_capacity(args.attributes.len());
    for word in &args.attributes {
        let (key, value) = word
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Error::Usage(format!("log: '{word}' is not key=value")))?;
        attributes.push((key.to_owned(), value.to_owned()));
    }
    telemetry::foreign_event(&source, level, &event, &attributes, None);
    if app.json {
        app.object(&json!({ "events": 1, "exported": telemetry::is_on() }))?;
    }
    Ok(Exit::OK)
}

fn level(word: &str) -> Option<tracing::Level> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" => tracing::Level::TRACE,
        "debug" => tracing::Level::DEBUG,
        "info" => tracing::Level::INFO,
        "warn" | "warning" => tracing::Level::WARN,
        "error" => tracing::Level::ERROR,
        _ => return None,
    })
}

/// Every line an object: `level`, `event`, and if wanted `source`, `traceparent` or `_meta.traceparent`; all else
/// is an attribute.
fn stream(app: &mut App, source: &str) -> Done<Exit> {
    let mut events = 0;
    let mut refused = 0;
    for (number, line) in std::io::stdin().lock().split(b'\n').enumerate() {
        let line = line.map_err(|source| Error::Io { what: "read stdin".into(), source })?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match record(&line, source) {
            Ok(()) => events += 1,
            Err(why) => {
                refused += 1;
                output::error(TOOL, &format!("log: stdin line {}: {why}", number + 1), None);
            }
        }
    }
    if app.json {
        app.object(&json!({ "events": events, "refused": refused, "exported": telemetry::is_on() }))?;
    }
    if refused > 0 {
        return Err(Error::Data(format!("log: {refused} lines were refused")));
    }
    Ok(Exit::OK)
}

fn record(line: &[u8], source: &str) -> Result<(), String> {
    let mut object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| format!("not an object: {error}"))?;
    let mut word = |key: &str| match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("\"{key}\" is not a string")),
    };
    let level_word = word("level")?.unwrap_or_else(|| "info".into());
    let level = level(&level_word).ok_or_else(|| format!("unknown level '{level_word}'"))?;
    let event = word("event")?.ok_or("\"event\" is missing")?;
    let source = word("source")?.unwrap_or_else(|| source.to_owned());
    let traceparent = word("traceparent")?;
    let meta = object.remove("_meta").and_then(|meta| meta.get("traceparent")?.as_str().map(str::to_owned));
    let traceparent = meta.or(traceparent);
    let attributes: Vec<(String, String)> = object
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => (key, text),
            other => (key, other.to_string()),
        })
        .collect();
    telemetry::foreign_event(&source, level, &event, &attributes, traceparent.as_deref());
    Ok(())
}
