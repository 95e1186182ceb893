//! What every tool's command line has in common.

use agor_tests::{TOOLS, World, stderr, stdout};

/// The status of a usage error: the exec wrappers keep 2 for the child.
fn usage(tool: &str) -> i32 {
    if matches!(tool, "agor-supervise" | "agor-sandbox") { 125 } else { 2 }
}

#[test]
fn help_goes_to_stdout_and_exits_0() {
    let world = World::new();
    for tool in TOOLS {
        for flag in ["--help", "-h", "help"] {
            let output = world.run(tool, &[flag]);
            assert_eq!(output.status.code(), Some(0), "{tool} {flag}");
            assert!(stdout(&output).contains("Usage:"), "{tool} {flag}: {}", stdout(&output));
            assert_eq!(stderr(&output), "", "{tool} {flag}");
        }
    }
}

#[test]
fn version_names_the_tool() {
    let world = World::new();
    for tool in TOOLS {
        let output = world.run(tool, &["--version"]);
        assert_eq!(output.status.code(), Some(0), "{tool}");
        assert_eq!(stdout(&output), format!("{tool} {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(stderr(&output), "", "{tool}");
    }
}

#[test]
fn a_bad_flag_is_one_line_and_a_hint() {
    let world = World::new();
    for tool in TOOLS {
        let output = world.run(tool, &["--no-such-flag"]);
        assert_eq!(output.status.code(), Some(usage(tool)), "{tool}");
        assert_eq!(stdout(&output), "", "{tool}");
        let text = stderr(&output);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(&format!("{tool}: ")), "{text}");
        assert!(lines[0].contains("--no-such-flag"), "{text}");
        assert!(lines.len() <= 2 && lines[1..].iter().all(|line| line.starts_with("hint: ")), "{text}");
    }
}

#[test]
fn a_missing_argument_is_a_usage_error() {
    let world = World::new();
    for (tool, args) in [
        ("agor-supervise", &[][..]),
        ("agor-supervise", &["--name", "x", "--"][..]),
        ("agor-sandbox", &[][..]),
        ("agor-sandbox", &["--rw"][..]),
        ("btmsg", &[][..]),
        ("btmsg", &["send"][..]),
        ("agor-checkpoint", &["--interval"][..]),
        ("agor-relay", &["connect"][..]),
        ("agor-relay", &["--port"][..]),
    ] {
        let output = world.run(tool, args);
        assert_eq!(output.status.code(), Some(usage(tool)), "{tool} {args:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with(&format!("{tool}: ")), "{tool} {args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{tool} {args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new();
    for tool in TOOLS {
        let script = format!("set -o pipefail; {tool} --help | true; echo ${{PIPESTATUS[0]}}");
        let output = world.command("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(stdout(&output).trim(), "0", "{tool}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{tool}");
    }
}

#[test]
fn unknown_configuration_keys_are_refused_with_their_line() {
    let world = World::new();
    let file = world.path("agor.toml");
    std::fs::write(&file, "# mine\n[btmsg]\n\n[btmsgs]\n").unwrap();
    for (tool, args) in [("btmsg", &["agents"][..]), ("agor-checkpoint", &[][..])] {
        let output = world.tool(tool).env("AGOR_CONFIG", &file).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{tool}: {}", stderr(&output));
        assert!(stderr(&output).contains("agor.toml:4"), "{tool}: {}", stderr(&output));
    }
}
