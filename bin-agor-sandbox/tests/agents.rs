//! Real programs in the default profile: git, cargo, node, python3, and the agents themselves.
//!
//! The agents are used when they are found on PATH, or in the `bin` directory that
//! `AGOR_TEST_AGENTS` names (`npm install --prefix DIR -g @anthropic-ai/claude-code @openai/codex`).
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ran, Sandbox, ran, skip};

fn agents_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    match std::env::var("AGOR_TEST_AGENTS") {
        Ok(dir) => format!("{dir}:{path}"),
        Err(_) => path,
    }
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&agents_path()).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// In the default profile, with the PATH and the tool homes of this user.
fn inside(sandbox: &Sandbox, options: &[&str], words: &[&str]) -> Ran {
    let mut command = sandbox.command();
    command.env("PATH", agents_path());
    for name in ["RUSTUP_HOME", "CARGO_HOME"] {
        let default = Path::new(&std::env::var("HOME").unwrap_or_default()).join(if name == "CARGO_HOME" {
            ".cargo"
        } else {
            ".rustup"
        });
        command.env(name, std::env::var_os(name).map_or(default, PathBuf::from));
    }
    ran(command.args(options).arg("--").args(words))
}

#[test]
fn agents_start() {
    let sandbox = Sandbox::new();
    for (agent, says) in [("claude", "Claude Code"), ("codex", "codex")] {
        if find(agent).is_none() {
            skip(&format!("{agent} is not installed; AGOR_TEST_AGENTS names the bin directory that has it"));
            continue;
        }
        for profile in [&["--profile", "default"][..], &[]] {
            let ran = inside(&sandbox, profile, &[agent, "--version"]);
            assert_eq!(ran.code, 0, "{agent} {profile:?}: {ran:?}");
            assert!(ran.stdout.contains(says), "{agent}: {ran:?}");
        }
    }
}

#[test]
fn a_session_of_claude_works_and_keeps_its_state() {
    if find("claude").is_none() {
        return skip("claude is not installed; AGOR_TEST_AGENTS names the bin directory that has it");
    }
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("home/.claude")).unwrap();
    std::fs::write(sandbox.path("home/.claude.json"), "{}").unwrap();
    // Without a login it ends with an answer that says so: everything before that has worked.
    let ran = inside(&sandbox, &[], &["claude", "-p", "hello", "--output-format", "json"]);
    assert!(ran.stdout.contains("\"type\":\"result\""), "{ran:?}");
    assert!(std::fs::read_dir(sandbox.path("home/.claude")).unwrap().count() > 0, "its state was written");
}

#[test]
fn tools_work_on_a_project() {
    let sandbox = Sandbox::new();
    for (program, script, says) in [
        (
            "python3",
            "python3 -c 'import json, tempfile; open(\"f\", \"w\").write(\"1\"); tempfile.TemporaryFile(); print(json.dumps(1))'",
            "1\n",
        ),
        (
            "node",
            "node -e 'require(\"fs\").writeFileSync(\"g\", \"1\"); console.log(require(\"child_process\").execSync(\"echo 1\").toString().trim())'",
            "1\n",
        ),
        ("perl", "perl -e 'print 1, \"\\n\"'", "1\n"),
        ("gcc", "printf 'int main(void) { return 0; }' >t.c && gcc t.c -o t && ./t && echo 1", "1\n"),
        ("make", "printf 'all:\\n\\t@echo 1\\n' >Makefile && make", "1\n"),
    ] {
        if find(program).is_none() {
            eprintln!("skipped: no {program}");
            continue;
        }
        let ran = inside(&sandbox, &[], &["sh", "-c", script]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, says), "{program}: {ran:?}");
    }
}

#[test]
fn cargo_builds_and_tests() {
    if find("cargo").is_none() {
        return skip("no cargo");
    }
    let sandbox = Sandbox::new();
    sandbox
        .file("work/Cargo.toml", "[package]\nname = 'p'\nversion = '0.1.0'\nedition = '2021'\n[workspace]\n");
    sandbox.file("work/build.rs", "fn main() { println!(\"cargo:rustc-env=BUILT=yes\"); }\n");
    sandbox.file("work/src/lib.rs", "#[test]\nfn t() { assert_eq!(env!(\"BUILT\"), \"yes\"); }\n");
    // A working cargo first: in a directory of its own, rustup may have no toolchain to offer.
    let outside = Command::new("cargo").arg("--version").current_dir(sandbox.path("work")).output();
    if !outside.is_ok_and(|output| output.status.success()) {
        return skip("cargo does not work outside either");
    }
    let toolchain = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let toolchain = String::from_utf8_lossy(&toolchain.stdout).trim().to_owned();
    let cargo = format!("{toolchain}/bin/cargo");
    let rustc = format!("RUSTC={toolchain}/bin/rustc");
    let words = if Path::new(&cargo).exists() {
        vec!["env", rustc.as_str(), cargo.as_str(), "test", "--offline", "--quiet", "--lib"]
    } else {
        vec!["cargo", "test", "--offline", "--quiet", "--lib"]
    };
    // cargo reads the configuration of every directory above; this project lies in the workspace of this one.
    let above = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cargo");
    let mut options = if Path::new(above).exists() { vec!["--ro", above] } else { Vec::new() };
    // The profile knows rustup's home by its usual name only.
    if std::env::var_os("RUSTUP_HOME").is_some_and(|home| !home.to_string_lossy().ends_with(".rustup")) {
        options.extend(["--rox", toolchain.as_str()]);
    }
    let ran = inside(&sandbox, &options, &words);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("1 passed"), "{ran:?}");
}
