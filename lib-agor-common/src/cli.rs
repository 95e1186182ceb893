//! Argument errors in the house shape: one line on stderr, a hint, and the tool's usage status.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use crate::{Exit, error, output};

/// Parses `args` (the program's name first). On `--help` and `--version` the text goes to stdout and the
/// result is `Err(Exit::OK)`; on an error one line goes to stderr and the result is `Err(usage)`, where
/// `usage` is [`Exit::USAGE`], or [`Exit::WRAPPER`] for the exec wrappers. With `--json` among the arguments
/// the error is one object on stdout too, as every other error.
pub fn parse<T: CommandFactory + FromArgMatches>(
    tool: &str,
    usage: Exit,
    args: impl IntoIterator<Item = OsString>,
) -> Result<T, Exit> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = T::command();
    let parsed = command.try_get_matches_from_mut(&args).and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| shown(tool, usage, &error, wants_json(&args)))
}

/// Whether `--json` is among the arguments; after `--` they are somebody else's.
fn wants_json(args: &[OsString]) -> bool {
    args.iter().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json")
}

/// Prints a clap error (or its help text) and returns the status to end with.
fn shown(tool: &str, usage: Exit, error: &clap::Error, json: bool) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let mut out = output::Out::stdout();
            let text = error.render();
            let text = if out.colour() { text.ansi().to_string() } else { text.to_string() };
            match out.bytes(text.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) => Exit::OK,
                Err(error) => crate::Failure::exit(&error),
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let hint = format!("{tool} --help lists the commands and options");
            error::tell(tool, usage, "a command or argument is missing", Some(&hint), json);
            usage
        }
        _ => {
            error::tell(tool, usage, &message(error), Some(&hint(tool, error)), json);
            usage
        }
    }
}

/// clap's own first paragraph on one line.
fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let joined = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

fn hint(tool: &str, error: &clap::Error) -> String {
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue] {
        match error.get(kind) {
            Some(ContextValue::String(word)) => return format!("did you mean '{word}'?"),
            Some(ContextValue::Strings(words)) if !words.is_empty() => {
                return format!("did you mean '{}'?", words.join("' or '"));
            }
            _ => {}
        }
    }
    format!("{tool} --help lists the options")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Args {
        #[arg(long)]
        level: Option<u8>,
        name: String,
    }

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn errors_are_one_line() {
        let error = Args::try_parse_from(words(&["t", "--levle", "1"])).unwrap_err();
        assert_eq!(message(&error), "unexpected argument '--levle' found");
        assert_eq!(hint("t", &error), "did you mean '--level'?");
        let error = Args::try_parse_from(words(&["t"])).unwrap_err();
        assert_eq!(message(&error), "the following required arguments were not provided: <NAME>");
        assert!(wants_json(&words(&["t", "--json", "--nope"])));
        assert!(!wants_json(&words(&["t", "--nope", "--", "--json"])));
        assert!(!wants_json(&words(&["--json"])), "the program's own name is no argument");
        assert_eq!(parse::<Args>("t", Exit::WRAPPER, words(&["t"])).unwrap_err(), Exit::WRAPPER);
    }
}
