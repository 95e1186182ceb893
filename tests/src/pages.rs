//! The generated parts of the manual and the completions, from the tools' argument definitions.
//!
//! A tool's page is NAME, SYNOPSIS, DESCRIPTION, OPTIONS and COMMANDS from clap, then the hand-written sections
//! of `man/parts/TOOL.roff`. `agor.7` and `agor-relay.7` are hand-written parts that get their titles here, and
//! `agor.toml.5` is written by hand whole.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use crate::completions;

/// The date in the pages: of the last change of what they say, not of the build.
const DATE: &str = "2026-11-23";

const GENERATED: &str = ".\\\" Generated from the argument definitions and man/parts: make pages\n";

/// The tools' argument definitions, without the subcommand `help`, which in completions would be as much again as
/// all others.
pub fn commands() -> Vec<Command> {
    let commands = [
        agor_supervise::command(),
        agor_sandbox::command(),
        btmsg::command(),
        agor_checkpoint::command(),
        agor_relay::command(),
    ];
    let built = |command| {
        let mut command = helpless(command);
        command.build();
        command
    };
    commands.into_iter().map(built).collect()
}

fn helpless(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(helpless)
}

/// Text as roff: nothing in it is a request or an escape, a hyphen can be copied, and `code` is bold.
fn roff(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut bold = false;
    for (i, line) in text.trim().lines().map(str::trim).enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if line.is_empty() {
            out.push_str(".PP");
            continue;
        }
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        for c in line.chars() {
            match c {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                '~' => out.push_str("\\(ti"),
                '^' => out.push_str("\\(ha"),
                '…' => out.push_str("..."),
                '`' => {
                    out.push_str(if bold { "\\fR" } else { "\\fB" });
                    bold = !bold;
                }
                c => out.push(c),
            }
        }
    }
    out
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn value_names(arg: &Arg) -> String {
    let names = arg.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let names = names.unwrap_or_else(|| vec![arg.get_id().as_str().to_uppercase()]);
    names.iter().map(|name| format!("\\fI{}\\fR", roff(name))).collect::<Vec<_>>().join(" ")
}

fn option_term(arg: &Arg) -> String {
    let mut words = Vec::new();
    for short in arg.get_short_and_visible_aliases().unwrap_or_default() {
        words.push(format!("\\fB\\-{short}\\fR"));
    }
    for long in arg.get_long_and_visible_aliases().unwrap_or_default() {
        words.push(format!("\\fB\\-\\-{}\\fR", roff(long)));
    }
    let mut term = words.join(", ");
    if takes_value(arg) {
        let value = value_names(arg);
        let optional = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
        match (optional, arg.is_require_equals_set()) {
            (true, true) => term.push_str(&format!("[={value}]")),
            (true, false) => term.push_str(&format!(" [{value}]")),
            (false, true) => term.push_str(&format!("={value}")),
            (false, false) => term.push_str(&format!(" {value}")),
        }
    }
    term
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', ';', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Splits `text [default: 5s] [env: NAME]` into the text and what stands in the brackets.
fn notes(text: &str) -> (String, Vec<(&'static str, String)>) {
    let mut text = text.trim().to_owned();
    let mut found = Vec::new();
    while let Some(inner) = text.strip_suffix(']') {
        let known = [(" [default: ", "Default"), (" [env: ", "Environment"), ("\n[env: ", "Environment")];
        let last = known.iter().filter_map(|(mark, word)| Some((inner.rfind(mark)?, mark, *word))).max();
        let Some((at, mark, word)) = last else { break };
        found.insert(0, (word, inner[at + mark.len()..].to_owned()));
        text.truncate(at);
    }
    (text, found)
}

/// What an argument is for, as roff.
fn help_of(arg: &Arg) -> String {
    let text = match arg.get_action() {
        ArgAction::Help => "Print help: `-h` in short, `--help` in full".to_owned(),
        _ => arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default(),
    };
    let (text, mut notes) = notes(&text);
    let mut out = roff(&sentence(&text));
    if takes_value(arg) && !arg.is_hide_possible_values_set() {
        let values: Vec<_> =
            arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
        if values.iter().any(|value| value.get_help().is_some()) {
            for value in &values {
                let help = value.get_help().map(|help| format!(": {}", sentence(&help.to_string())));
                let line = format!("`{}`{}", value.get_name(), help.unwrap_or_default());
                let _ = write!(out, "\n.br\n{}", roff(&line));
            }
        } else if !values.is_empty() {
            let names: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
            let _ = write!(out, "\nOne of {}.", roff(&names.join(", ")));
        }
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value(arg) && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        notes.push(("Default", defaults.join(" ")));
    }
    if let Some(variable) = arg.get_env() {
        notes.push(("Environment", variable.to_string_lossy().into_owned()));
    }
    for (index, (word, note)) in notes.iter().enumerate() {
        let line_break = if index == 0 { "\n.br\n" } else { "\n" };
        let _ = write!(out, "{line_break}{word}: {}.", roff(note));
    }
    out
}

/// Whether a page shows it; every command has `--help`, which the top alone shows.
fn shown(arg: &Arg, top: bool) -> bool {
    !arg.is_hide_set() && (top || arg.get_id() != "help")
}

fn same(a: &Arg, b: &Arg) -> bool {
    a.get_long() == b.get_long()
        && a.get_help().map(ToString::to_string) == b.get_help().map(ToString::to_string)
}

/// The arguments of `command`; those that its tool has too are only named.
fn arguments(page: &mut String, command: &Command, tool: Option<&Command>) {
    for arg in command.get_positionals().filter(|arg| shown(arg, tool.is_none())) {
        let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
        let more = if many { "\\ ..." } else { "" };
        let _ = write!(page, ".TP\n{}{more}\n{}\n", value_names(arg), help_of(arg));
    }
    let (mut known, mut own) = (Vec::new(), Vec::new());
    for arg in command.get_arguments().filter(|arg| !arg.is_positional() && shown(arg, tool.is_none())) {
        match tool {
            Some(tool) if tool.get_arguments().any(|above| !above.is_positional() && same(above, arg)) => {
                known.push(arg);
            }
            _ => own.push(arg),
        }
    }
    let mut heading = None;
    for arg in own {
        if tool.is_none() && arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let _ = writeln!(page, ".SS {}", roff(heading.unwrap_or("General")));
        }
        let _ = write!(page, ".TP\n{}\n{}\n", option_term(arg), help_of(arg));
    }
    if !known.is_empty() {
        let names: Vec<_> = known.iter().filter_map(|arg| arg.get_long()).collect();
        let names: Vec<_> = names.iter().map(|long| format!("\\fB\\-\\-{}\\fR", roff(long))).collect();
        let _ = write!(page, ".PP\nAnd, as above: {}.\n", names.join(", "));
    }
}

fn usage(command: &Command) -> Vec<String> {
    let text = command.clone().render_usage().to_string();
    text.lines().map(|line| line.trim_start_matches("Usage:").trim().to_owned()).collect()
}

fn about(command: &Command) -> String {
    let text = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    sentence(&text)
}

fn synopsis(page: &mut String, command: &Command) {
    let lines: Vec<_> = usage(command).iter().map(|line| roff(line)).collect();
    let _ = writeln!(page, "{}", lines.join("\n.br\n"));
}

fn subcommands(page: &mut String, command: &Command, path: &str, tool: &Command) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = format!("{path} {}", sub.get_name());
        let _ = write!(page, ".SS {}\n{}\n.PP\n", roff(&name), roff(&about(sub)));
        let aliases: Vec<_> = sub.get_visible_aliases().map(roff).collect();
        if !aliases.is_empty() {
            let _ = write!(page, "Also called \\fB{}\\fR.\n.PP\n", aliases.join("\\fR, \\fB"));
        }
        synopsis(page, sub);
        arguments(page, sub, Some(tool));
        subcommands(page, sub, &name, tool);
    }
}

/// One tool's page, with the hand-written sections `parts`.
pub fn page(command: &Command, parts: &str) -> String {
    let name = command.get_name();
    let mut page = title(&name.to_uppercase(), 1);
    let short = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, ".SH NAME\n{} \\- {}\n", roff(name), roff(short.trim_end_matches('.')));
    page.push_str(".SH SYNOPSIS\n");
    synopsis(&mut page, command);
    let _ = write!(page, ".SH DESCRIPTION\n{}\n", roff(&about(command)));
    page.push_str(".SH OPTIONS\n");
    arguments(&mut page, command, None);
    if command.get_subcommands().any(|sub| sub.get_name() != "help") {
        page.push_str(".SH COMMANDS\n");
        subcommands(&mut page, command, name, command);
    }
    page.push_str(parts.trim_end());
    page.push('\n');
    page
}

fn title(name: &str, section: u8) -> String {
    let version = agor_common::VERSION;
    format!("{GENERATED}.TH {} {section} \"{DATE}\" \"agor {version}\" \"agor manual\"\n", roff(name))
}

/// Every generated file below the top of the checkout: path and content.
///
/// # Errors
/// Where the hand-written parts cannot be read.
pub fn generated(top: &Path) -> std::io::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let part = |name: &str| {
        let path = top.join(format!("man/parts/{name}.roff"));
        std::fs::read_to_string(&path)
            .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    for command in commands() {
        let name = command.get_name().to_owned();
        files.push((top.join(format!("man/{name}.1")), page(&command, &part(&name)?)));
        let profiles = &agor_sandbox::profile::BUILT_IN;
        let dir = top.join("packaging/completions");
        files.push((dir.join(format!("{name}.bash")), completions::bash(&command, profiles)));
        files.push((dir.join(format!("_{name}")), completions::zsh(&command, profiles)));
        files.push((dir.join(format!("{name}.fish")), completions::fish(&command, profiles)));
    }
    files.push((top.join("man/agor-relay.7"), title("AGOR-RELAY", 7) + &part("agor-relay.7")?));
    let tour = part("agor.7")?.replace(".\\\" telemetry.roff\n", &part("telemetry")?);
    files.push((top.join("man/agor.7"), title("AGOR", 7) + &tour));
    Ok(files)
}
