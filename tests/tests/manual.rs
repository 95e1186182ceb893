//! The manual says what is: generated parts are up to date, every option and exit status stands in its page and
//! none that does not exist, and the examples run.
//!
//! An example is a block between `.EX` and `.EE`. The blocks of a page run in their order in one sandboxed world,
//! each as a script of `bash -eu -o pipefail`, beside stand-ins for the agents that pages name (`claude`,
//! `codex`, `aider`). A comment before a block says what else is to be known:
//!
//!     .\" agor-test: no, REASON       it is not run
//!     .\" agor-test: exit N|M         it ends with one of these statuses
//!     .\" agor-test: background       it runs beside the blocks that follow
//!     .\" agor-test: after COMMAND    it starts once COMMAND succeeds
//!     .\" agor-test: stdin TEXT       it reads TEXT; without this, nothing

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agor_tests::{TOOLS, World, bin_dir, completions, executable, pages, skip, stderr, stdout, top};

/// All pages.
fn manual() -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(top().join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

/// The text of a page as a reader sees its words.
fn plain(roff: &str) -> String {
    let mut text = roff.replace("\\-", "-");
    for (escape, character) in [
        ("\\&", ""),
        ("\\e", "\\"),
        ("\\(ti", "~"),
        ("\\(ha", "^"),
        ("\\(dq", "\""),
        ("\\(aq", "'"),
        ("\\(cq", "'"),
        ("\\(oq", "'"),
        ("\\ ", " "),
    ] {
        text = text.replace(escape, character);
    }
    for font in ["\\fB", "\\fI", "\\fR", "\\fP"] {
        text = text.replace(font, "");
    }
    text
}

/// A page's section, without its heading.
fn section<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n.SH {name}\n"))?;
    Some(rest.split("\n.SH ").next().unwrap_or(rest))
}

#[test]
fn generated_files_are_up_to_date() {
    for (path, content) in pages::generated(&top()).unwrap() {
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == content, "{} is out of date: run make pages", path.display());
    }
}

#[test]
fn pages_are_lint_clean() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        return skip("mandoc is not installed: pages are not linted");
    }
    for page in manual() {
        let output =
            Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        assert_eq!(stdout(&output) + &stderr(&output), "", "{}", page.display());
    }
}

#[test]
fn every_option_of_every_tool_is_in_its_page() {
    for command in pages::commands() {
        let name = command.get_name().to_owned();
        let page = plain(&std::fs::read_to_string(top().join(format!("man/{name}.1"))).unwrap());
        for name in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
            "NOTES",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            assert!(page.contains(&format!("\n.SH {name}\n")), "{}: no section {name}", command.get_name());
        }
        completions::walk(&command, &mut Vec::new(), &mut |path, command| {
            // A command's own part of the page.
            let part = if path.len() == 1 {
                page.as_str()
            } else {
                let heading = format!("\n.SS {}\n", path.join(" "));
                let (_, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("no heading {heading}"));
                rest.split("\n.S").next().unwrap_or(rest)
            };
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help") {
                for long in arg.get_long_and_visible_aliases().unwrap_or_default() {
                    let flag = format!("--{long}");
                    let found = part.match_indices(&flag).any(|(at, _)| {
                        !part[at + flag.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
                    });
                    assert!(found, "{}: {flag} is not in the page", path.join(" "));
                    let described = arg.get_help().or(arg.get_long_help()).is_some();
                    assert!(described, "{}: {flag} has no help", path.join(" "));
                }
            }
        });
    }
}

/// Every option that a page names exists: in the tool that it is about, or in one that it runs.
#[test]
fn no_page_names_an_option_that_does_not_exist() {
    let mut known = BTreeSet::from(["--user".to_owned(), "--now".to_owned(), "--system".to_owned()]);
    for command in pages::commands() {
        completions::walk(&command, &mut Vec::new(), &mut |_, command| {
            for arg in command.get_arguments() {
                let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
                known.extend(longs.iter().map(|long| format!("--{long}")));
            }
        });
    }
    // Of agents and of git.
    known.extend(
        [
            "--output-format",
            "--input-format",
            "--version",
            "--verbose",
            "--print",
            "--no-daemon",
            "--sandbox",
            "--ignore-submodules",
            "--continue",
        ]
        .map(str::to_owned),
    );
    for page in manual() {
        let text = plain(&std::fs::read_to_string(&page).unwrap());
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            let long = word.starts_with("--") && word.len() > 2 && word.as_bytes()[2].is_ascii_lowercase();
            assert!(!long || known.contains(word), "{}: {word} is no option", page.display());
        }
    }
}

/// The exit codes by the names of their constants in `agor_common::exit`.
fn constants() -> BTreeMap<String, u8> {
    let text = std::fs::read_to_string(top().join("lib-agor-common/src/exit.rs")).unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("pub const ") else { continue };
        let Some((name, value)) = rest.split_once(": Exit = Exit(") else { continue };
        found.insert(name.to_owned(), value.trim_end_matches(");").parse().unwrap());
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The codes that the sources below `dir` name, tests left out.
fn defined(dir: &Path, constants: &BTreeMap<String, u8>) -> BTreeSet<u8> {
    let mut found = BTreeSet::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                found.extend(
                    code.split("Exit::child(")
                        .skip(1)
                        .filter_map(|rest| rest.split_once(')')?.0.parse::<u8>().ok()),
                );
                for (name, value) in constants {
                    let use_of = format!("Exit::{name}");
                    let named = code.match_indices(&use_of).any(|(at, _)| {
                        !code[at + use_of.len()..]
                            .starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                    });
                    if named {
                        found.insert(*value);
                    }
                }
            }
        }
    }
    found
}

/// The numbers in the terms of a section's list.
fn terms(section: &str) -> BTreeSet<u8> {
    let mut found = BTreeSet::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        if !matches!(line.split(' ').next(), Some(".TP" | ".TQ")) {
            continue;
        }
        let term = lines.next().unwrap_or_default();
        // `128+n` is the child's, as `n` is.
        let term = plain(term).replace("128+", "");
        found.extend(term.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u8>().ok()));
    }
    found
}

#[test]
fn exit_status_lists_what_the_tool_defines() {
    let constants = constants();
    let shared = defined(&top().join("lib-agor-common/src"), &constants);
    for tool in TOOLS {
        let mut own = defined(&top().join(format!("bin-{tool}/src")), &constants);
        if tool == "agor-supervise" {
            // There they are numbers from the start, beside the child's own.
            own.extend([126, 127]);
        }
        let page = std::fs::read_to_string(top().join(format!("man/{tool}.1"))).unwrap();
        let said = terms(section(&page, "EXIT STATUS").unwrap_or_else(|| panic!("{tool}: no EXIT STATUS")));
        assert!(said.contains(&0), "{tool}: {said:?}");
        // Above 128 it is the signal that ended it.
        let known = |code: u8| code > 128 || own.contains(&code) || shared.contains(&code);
        let unknown: Vec<_> = said.iter().filter(|code| !known(**code)).collect();
        assert!(unknown.is_empty(), "{tool}: its page lists {unknown:?}, which it never exits with");
        let missing: Vec<_> = own.iter().filter(|code| !said.contains(code)).collect();
        assert!(missing.is_empty(), "{tool}: {missing:?} is not in EXIT STATUS of its page");
    }
}

/// The keys that `agor.toml.5` describes in the part of `table`.
fn described(page: &str, table: &str) -> BTreeSet<String> {
    let heading = format!("\n.SS [{table}]\n");
    let (_, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("no table {table}"));
    let part = rest.split("\n.S").next().unwrap_or(rest);
    let terms = part.lines().filter_map(|line| line.strip_prefix(".BR ")?.split_once(" \" ("));
    terms.map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn the_page_of_the_configuration_has_every_key_and_no_other() {
    let page = std::fs::read_to_string(top().join("man/agor.toml.5")).unwrap();
    let relay = ["--insecure", "--port", "0", "--", "true"];
    let sandbox = ["explain", "--profile", "x"];
    for (table, header, tool, args) in [
        ("supervise", "[supervise]", "agor-supervise", &["explain"][..]),
        ("sandbox", "[sandbox]", "agor-sandbox", &["explain"][..]),
        ("sandbox.profile.NAME", "[sandbox.profile.x]", "agor-sandbox", &sandbox[..]),
        ("btmsg", "[btmsg]", "btmsg", &["agents"][..]),
        ("checkpoint", "[checkpoint]", "agor-checkpoint", &[][..]),
        ("relay", "[relay]", "agor-relay", &relay[..]),
        ("relay.session.NAME", "[relay.session.x]", "agor-relay", &relay[..]),
        (
            "relay.session.NAME.sandbox",
            "[relay.session.x]\ncommand = ['true']\n[relay.session.x.sandbox]",
            "agor-relay",
            &relay[..],
        ),
        ("relay.token.NAME", "[relay.token.x]", "agor-relay", &relay[..]),
    ] {
        let world = World::new();
        let file = world.path("agor.toml");
        // The refusal of a key names those that there are.
        std::fs::write(&file, format!("{header}\nno_such_key = 1\n")).unwrap();
        let output = world.tool(tool).env("AGOR_CONFIG", &file).args(args).output().unwrap();
        let error = stderr(&output);
        assert!(matches!(output.status.code(), Some(78 | 125)), "{table}: {:?}: {error}", output.status);
        let (_, list) = error.split_once("no_such_key`").unwrap_or_else(|| panic!("{table}: {error}"));
        let known: BTreeSet<_> =
            list.lines().next().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(!known.is_empty(), "{table}: {error}");
        assert_eq!(described(&page, table), known, "{table}");
    }
}

/// One block of a page.
#[derive(Debug, Default, Clone)]
struct Example {
    line: usize,
    script: String,
    no: Option<String>,
    exit: Vec<i32>,
    background: bool,
    after: Option<String>,
    stdin: String,
}

fn examples(page: &Path) -> Vec<Example> {
    let text = std::fs::read_to_string(page).unwrap();
    let (mut found, mut next, mut open) = (Vec::new(), Example::default(), false);
    for (number, line) in text.lines().enumerate() {
        if let Some(word) = line.strip_prefix(".\\\" agor-test: ") {
            let (verb, rest) = word.split_once([' ', ',']).unwrap_or((word, ""));
            let rest = rest.trim();
            match verb {
                "no" => next.no = Some(rest.to_owned()),
                "exit" => next.exit = rest.split('|').map(|code| code.parse().unwrap()).collect(),
                "background" => next.background = true,
                "after" => next.after = Some(rest.to_owned()),
                "stdin" => rest.clone_into(&mut next.stdin),
                _ => panic!("{}:{}: what is '{word}'?", page.display(), number + 1),
            }
        } else if line == ".EX" {
            open = true;
            next.line = number + 1;
        } else if line == ".EE" {
            open = false;
            found.push(std::mem::take(&mut next));
        } else if open {
            assert!(!line.starts_with('.'), "{}:{}: a request in an example", page.display(), number + 1);
            let _ = writeln!(next.script, "{}", plain(line));
        }
    }
    found
}

/// A program that stands in for an agent: says something, answers every line, ends with its input.
const STAND_IN: &str = "#!/bin/sh\n\
    case \"$1\" in --version) echo '0.0.0 (stand-in)'; exit 0 ;; esac\n\
    echo '{\"type\":\"system\",\"text\":\"ready\"}'\n\
    while IFS= read -r line; do echo '{\"type\":\"result\",\"text\":\"done\"}'; done\n";

struct Reaper(Vec<Child>);

impl Drop for Reaper {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Each block is the leader of a group; a supervisor ends its own below it on TERM.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
            let deadline = Instant::now() + Duration::from_secs(60);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
            let _ = child.wait();
        }
    }
}

fn command(world: &World, script: &str) -> Command {
    let path =
        format!("{}:{}:{}", world.path("bin").display(), bin_dir().display(), std::env::var("PATH").unwrap());
    let mut command = world.command("timeout");
    command.args(["--foreground", "240", "bash", "-eu", "-o", "pipefail", "-c", script]).env("PATH", path);
    command.env("EXAMPLES", top().join("examples")).process_group(0);
    command
}

fn run_examples(page: &Path) -> usize {
    let world = World::new();
    std::fs::create_dir(world.path("bin")).unwrap();
    for agent in ["claude", "codex", "aider"] {
        executable::write(world.path("bin").join(agent), STAND_IN);
    }
    let mut running = Reaper(Vec::new());
    let mut count = 0;
    for example in examples(page) {
        let place = format!("{}:{}", page.display(), example.line);
        if let Some(reason) = example.no {
            assert!(reason.len() > 5, "{place}: say why it is not run");
            continue;
        }
        count += 1;
        if let Some(after) = &example.after {
            let deadline = Instant::now() + Duration::from_secs(90);
            let ready = || command(&world, after).stdin(Stdio::null()).output().unwrap();
            let mut last = ready();
            while !last.status.success() {
                assert!(Instant::now() < deadline, "{place}: {after}: {}", stderr(&last));
                std::thread::sleep(Duration::from_millis(100));
                last = ready();
            }
        }
        let mut script = command(&world, &example.script);
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if example.background {
            script.stdout(Stdio::null()).stderr(Stdio::null());
            // Its stdin stays open as a terminal's would.
            running.0.push(script.spawn().unwrap());
            continue;
        }
        let mut child = script.spawn().unwrap();
        std::io::Write::write_all(
            &mut child.stdin.take().unwrap(),
            (example.stdin + "\n").replace("\\n", "\n").as_bytes(),
        )
        .unwrap_or_default();
        let output = child.wait_with_output().unwrap();
        let ends = if example.exit.is_empty() { vec![0] } else { example.exit };
        assert!(
            output.status.code().is_some_and(|code| ends.contains(&code)),
            "{place}: {:?}, not one of {ends:?}:\n{}---\n{}---\n{}",
            output.status,
            example.script,
            stdout(&output),
            stderr(&output)
        );
    }
    count
}

#[test]
fn the_examples_of_the_supervisor_run() {
    assert!(run_examples(&top().join("man/agor-supervise.1")) >= 3);
}

#[test]
fn the_examples_of_the_sandbox_run() {
    assert!(run_examples(&top().join("man/agor-sandbox.1")) >= 3);
}

#[test]
fn the_examples_of_btmsg_run() {
    assert!(run_examples(&top().join("man/btmsg.1")) >= 3);
}

#[test]
fn the_examples_of_the_checkpointer_run() {
    assert!(run_examples(&top().join("man/agor-checkpoint.1")) >= 3);
}

#[test]
fn the_examples_of_the_relay_run() {
    assert!(run_examples(&top().join("man/agor-relay.1")) >= 3);
    run_examples(&top().join("man/agor-relay.7"));
}

#[test]
fn the_examples_of_the_tour_run() {
    assert!(run_examples(&top().join("man/agor.7")) >= 6);
    run_examples(&top().join("man/agor.toml.5"));
}
