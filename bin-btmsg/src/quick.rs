//! A short way for the commands that hooks and loops run all the time.
//!
//! Building the grammar of thirty-odd commands costs a one-shot program more than its transaction. Here only the
//! one command that is meant is built, from the same derive; whatever does not parse goes the long way, which
//! knows every message, hint and help text.

use std::ffi::OsString;

use clap::{Args, FromArgMatches};

use crate::cli::{Cli, Command, Globals};

/// Parses `args` (the program's name first) if they are for one of those commands and plainly right.
pub fn parse(args: &[OsString]) -> Option<Cli> {
    match name(args)? {
        "heartbeat" => one("heartbeat", args, Command::Heartbeat),
        "send" => one("send", args, Command::Send),
        "recv" => one("recv", args, Command::Recv),
        "ack" => one("ack", args, Command::Ack),
        "inbox" => one("inbox", args, Command::Inbox),
        "read" => one("read", args, Command::Read),
        "reply" => one("reply", args, Command::Reply),
        "unread" => Some(Cli { globals: bare("unread", args)?, command: Command::Unread }),
        "notify" => Some(Cli { globals: bare("notify", args)?, command: Command::Notify }),
        _ => None,
    }
}

/// The first word that is not an option of all commands.
fn name(args: &[OsString]) -> Option<&str> {
    let mut words = args.iter().skip(1);
    loop {
        match words.next()?.to_str()? {
            "--as" => {
                words.next()?;
            }
            "--json" => {}
            option if option.starts_with("--as=") => {}
            word => return Some(word),
        }
    }
}

fn grammar() -> clap::Command {
    Globals::augment_args(clap::Command::new(crate::TOOL).disable_help_subcommand(true))
}

fn one<T: Args + FromArgMatches>(
    name: &'static str,
    args: &[OsString],
    command: fn(T) -> Command,
) -> Option<Cli> {
    let grammar = grammar().subcommand(T::augment_args(clap::Command::new(name)));
    let matches = grammar.try_get_matches_from(args).ok()?;
    let globals = Globals::from_arg_matches(&matches).ok()?;
    let own = T::from_arg_matches(matches.subcommand_matches(name)?).ok()?;
    Some(Cli { globals, command: command(own) })
}

fn bare(name: &'static str, args: &[OsString]) -> Option<Globals> {
    let matches = grammar().subcommand(clap::Command::new(name)).try_get_matches_from(args).ok()?;
    matches.subcommand_matches(name)?;
    Globals::from_arg_matches(&matches).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_short_way_says_what_the_long_way_says() {
        for line in [
            "btmsg heartbeat",
            "btmsg --as a heartbeat --status idle --context 0.5",
            "btmsg heartbeat --as a --json --every 2s -- cmd --json",
            "btmsg --as=a --json send bob hi there",
            "btmsg send --priority urgent --to a -- --json",
            "btmsg recv --wait 3s --max 2 --ack --as x",
            "btmsg ack a b --json",
            "btmsg inbox --all --limit 3",
            "btmsg read",
            "btmsg reply m text",
            "btmsg unread --json",
            "btmsg notify",
        ] {
            let short = parse(&words(line)).unwrap_or_else(|| panic!("{line}: not the short way"));
            let long = Cli::try_parse_from(words(line)).unwrap();
            assert_eq!(format!("{short:?}"), format!("{long:?}"), "{line}");
        }
    }

    #[test]
    fn whatever_else_goes_the_long_way() {
        for line in
            ["btmsg", "btmsg --json", "btmsg send --help", "btmsg --help", "btmsg sned", "btmsg inbox --bad"]
        {
            assert!(parse(&words(line)).is_none(), "{line}");
        }
    }
}
