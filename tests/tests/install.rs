//! `make install` and `make uninstall`: what one puts there the other takes away, and nothing else.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use agor_tests::{TOOLS, World, bin_dir, skip, stderr, stdout, top};

/// Every file below `dir`, relative to it.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found
}

/// The programs of this build where `packaging/install` looks for them.
fn built(world: &World) -> std::path::PathBuf {
    let out = world.path("out");
    std::fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink(bin_dir(), out.join("bin")).unwrap();
    out
}

fn install(world: &World, out: &Path, prefix: &str, destdir: &Path, remove: bool) -> std::process::Output {
    let mut command: Command = world.command(top().join("packaging/install"));
    command.env("OUT", out).env("PREFIX", prefix).env("DESTDIR", destdir);
    if remove {
        command.arg("--remove");
    }
    command.args(TOOLS).output().unwrap()
}

fn must(output: &std::process::Output) {
    assert!(output.status.success(), "{}\n{}", stdout(output), stderr(output));
    assert_eq!(stderr(output), "");
}

#[test]
fn uninstall_removes_what_install_put_there_and_nothing_else() {
    let world = World::new();
    let out = built(&world);
    let stage = world.path("a stage");
    std::fs::create_dir_all(stage.join("usr/local/bin")).unwrap();
    std::fs::write(stage.join("usr/local/bin/someone-elses"), "").unwrap();
    let before = files(&stage);
    must(&install(&world, &out, "/usr/local", &stage, false));
    let installed = files(&stage);
    for tool in TOOLS {
        for file in [
            format!("bin/{tool}"),
            format!("share/man/man1/{tool}.1"),
            format!("share/bash-completion/completions/{tool}"),
            format!("share/zsh/site-functions/_{tool}"),
            format!("share/fish/vendor_completions.d/{tool}.fish"),
        ] {
            assert!(
                installed.contains(&format!("usr/local/{file}")),
                "{file} is not installed: {installed:?}"
            );
        }
    }
    for file in [
        "share/man/man7/agor.7",
        "share/man/man5/agor.toml.5",
        "share/man/man7/agor-relay.7",
        "lib/systemd/system/agor-supervise@.service",
        "share/systemd/user/agor-checkpoint.timer",
        "share/doc/agor/examples/demo",
    ] {
        assert!(installed.contains(&format!("usr/local/{file}")), "{file} is not installed: {installed:?}");
    }
    must(&install(&world, &out, "/usr/local", &stage, false));
    assert_eq!(files(&stage), installed, "a second time changes nothing");
    must(&install(&world, &out, "/usr/local", &stage, true));
    assert_eq!(files(&stage), before);
    must(&install(&world, &out, "/usr/local", &stage, true));
    assert!(!stage.join("usr/local/share/doc/agor").exists());
}

#[test]
fn installed_programs_run_and_files_name_the_prefix() {
    let world = World::new();
    let out = built(&world);
    let prefix = world.path("prefix");
    must(&install(&world, &out, prefix.to_str().unwrap(), Path::new(""), false));
    for tool in TOOLS {
        let output = world.command(prefix.join("bin").join(tool)).arg("--version").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{tool}");
    }
    for file in files(&prefix) {
        if file.starts_with("bin/") {
            continue;
        }
        let text = std::fs::read(prefix.join(&file)).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("@PREFIX@"), "{file} is not filled in");
        let unit = file.contains("/systemd/");
        for line in text.lines().filter(|line| unit && line.starts_with("ExecStart=")) {
            assert!(line.contains(prefix.to_str().unwrap()), "{file}: {line}");
        }
    }
    must(&install(&world, &out, prefix.to_str().unwrap(), Path::new(""), true));
    assert_eq!(files(&prefix), BTreeSet::new());
}

#[test]
fn a_home_gets_no_system_units() {
    let world = World::new();
    let out = built(&world);
    let prefix = world.path("home/.local");
    must(&install(&world, &out, prefix.to_str().unwrap(), Path::new(""), false));
    assert!(!prefix.join("lib").exists());
    assert!(prefix.join("share/systemd/user/agor-sweep.timer").exists(), "where the user manager looks");
}

#[test]
fn a_prefix_that_a_unit_cannot_name_is_refused() {
    let world = World::new();
    let out = built(&world);
    for prefix in ["relative", "/with blank", "/with|bar", "/with%i", "/a\nb"] {
        let output = install(&world, &out, prefix, &world.path("stage"), false);
        assert_eq!(output.status.code(), Some(2), "{prefix}: {}", stderr(&output));
        assert!(!world.path("stage").exists(), "{prefix}");
    }
}

/// The units as they are installed, with an instance of the template; `None` where there is no systemd-analyze.
fn units(world: &World) -> Option<std::path::PathBuf> {
    if !Command::new("systemd-analyze").arg("--version").output().is_ok_and(|o| o.status.success()) {
        skip("systemd-analyze is not installed: units are not verified");
        return None;
    }
    let out = built(world);
    let prefix = world.path("prefix");
    must(&install(world, &out, prefix.to_str().unwrap(), Path::new(""), false));
    for dir in ["lib/systemd/system", "share/systemd/user"] {
        let dir = prefix.join(dir);
        std::fs::copy(dir.join("agor-supervise@.service"), dir.join("agor-supervise@coder.service")).unwrap();
    }
    Some(prefix)
}

#[test]
fn units_verify_without_a_word() {
    let world = World::new();
    let Some(prefix) = units(&world) else { return };
    for (scope, dir) in [("--system", "lib/systemd/system"), ("--user", "share/systemd/user")] {
        for unit in files(&prefix.join(dir)) {
            if unit.contains("@.") {
                continue;
            }
            let output = world
                .command("systemd-analyze")
                .env("XDG_RUNTIME_DIR", world.path("tmp"))
                .args([scope, "--man=no", "verify"])
                .arg(prefix.join(dir).join(&unit))
                .output()
                .unwrap();
            let text = stdout(&output) + &stderr(&output);
            assert!(output.status.success() && text.is_empty(), "{scope} {unit}: {text}");
        }
    }
}

#[test]
fn services_are_confined() {
    let world = World::new();
    let Some(prefix) = units(&world) else { return };
    // Tenths of systemd's exposure level. A user manager can only use what needs no privilege, and an agent
    // needs what a timer's job does not: namespaces for its sandbox, memory that its runtime compiles into.
    for (dir, job, agent) in [("lib/systemd/system", 12, 21), ("share/systemd/user", 65, 70)] {
        for unit in files(&prefix.join(dir)) {
            if !unit.ends_with(".service") || unit.contains("@.") {
                continue;
            }
            let limit = if unit.contains("relay") || unit.contains('@') { agent } else { job };
            let output = world
                .command("systemd-analyze")
                .args(["security", "--offline=true", "--no-pager", &format!("--threshold={limit}")])
                .arg(prefix.join(dir).join(&unit))
                .output()
                .unwrap();
            let text = stdout(&output);
            assert!(output.status.success(), "{dir}/{unit}: {}", text.lines().last().unwrap_or_default());
        }
    }
}
