//! `packaging/cron/agor`: each line under cron's own environment. What it prints is mailed, so it prints only
//! what needs somebody.

use std::os::unix::fs::symlink;
use std::process::Command;

use agor_tests::{TOOLS, World, bin_dir, executable, stderr, stdout, top};

/// The commands of the file, as cron runs them: environment lines, five fields of time and the user are gone.
fn jobs() -> Vec<String> {
    let text = std::fs::read_to_string(top().join("packaging/cron/agor")).expect("the recipes");
    let mut jobs = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line
            .split_once('=')
            .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        {
            continue;
        }
        // Cron makes a line feed of it.
        assert!(!line.contains('%'), "{line}");
        let mut rest = line;
        for _ in 0..6 {
            rest = rest.trim_start().split_once(' ').expect("a field").1;
        }
        jobs.push(rest.trim_start().to_owned());
    }
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    jobs
}

/// What cron would mail of `job`, with the programs of `prefix`.
fn mail(world: &World, prefix: &str, job: &str) -> String {
    let output = Command::new("/bin/sh")
        .args(["-c", job])
        .env_clear()
        .env("HOME", world.path("home"))
        .env("LOGNAME", "agor")
        .env("SHELL", "/bin/sh")
        .env("PATH", format!("{}:/usr/bin:/bin", world.path(prefix).join("bin").display()))
        .env("AGOR_DATA_DIR", world.path("data"))
        .current_dir(world.path("home"))
        .output()
        .expect("sh runs");
    stdout(&output) + &stderr(&output)
}

/// A prefix with a stand-in for each tool, which speaks on both streams and ends with `code`.
fn stand_ins(world: &World, code: u8) -> String {
    let prefix = format!("ends-{code}");
    let bin = world.path(&prefix).join("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    for tool in TOOLS {
        executable::write(
            bin.join(tool),
            format!("#!/bin/sh\necho told\necho complained >&2\nexit {code}\n"),
        );
    }
    prefix
}

#[test]
fn only_a_failure_that_does_not_mend_itself_is_mailed() {
    let world = World::new();
    for job in jobs() {
        for quiet in [0, 75] {
            assert_eq!(mail(&world, &stand_ins(&world, quiet), &job), "", "{quiet}: {job}");
        }
        for loud in [1, 66, 70, 74, 127] {
            assert_eq!(mail(&world, &stand_ins(&world, loud), &job), "told\ncomplained\n", "{loud}: {job}");
        }
    }
}

#[test]
fn the_tools_are_silent_until_an_agent_or_a_file_needs_somebody() {
    let world = World::new();
    let bin = world.path("real/bin");
    std::fs::create_dir_all(bin.parent().expect("a parent")).expect("a directory");
    symlink(bin_dir(), &bin).expect("a link");
    let [checkpoint, sweep, health] = <[String; 3]>::try_from(jobs()).expect("three");
    let mailed = |job: &str| mail(&world, "real", job);
    // A fresh machine, then one with agents that are well.
    for job in [&checkpoint, &sweep, &health] {
        assert_eq!(mailed(job), "", "{job}");
    }
    for agent in ["boss", "coder"] {
        world.run("btmsg", &["register", agent]);
    }
    for job in [&checkpoint, &sweep, &health] {
        assert_eq!(mailed(job), "", "{job}");
    }
    // An agent that was given up.
    let rule = ["--name", "coder", "--agent", "coder", "--max-attempts", "1", "--backoff-base", "1ms"];
    let given_up = world.tool("agor-supervise").args(rule).args(["--", "false"]).output().expect("it runs");
    assert!(!given_up.status.success());
    assert!(mailed(&health).contains("coder"), "{}", mailed(&health));
    // A database that is none.
    std::fs::write(world.path("data/btmsg.db"), "this was a database once, and is none now").expect("a file");
    for job in [&checkpoint, &sweep, &health] {
        assert!(mailed(job).contains("btmsg.db"), "{job}: {}", mailed(job));
    }
}
