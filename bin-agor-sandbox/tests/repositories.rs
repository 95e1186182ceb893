//! Repositories of every shape: nothing that git outside runs can be left in one.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::os::unix::fs::symlink;

use common::{Ran, Sandbox, git, gone, namespaces, ran, repository};

fn inside(sandbox: &Sandbox, dir: &str, script: &str) -> Ran {
    ran(sandbox.command().current_dir(sandbox.path(dir)).args(["--", "sh", "-c", script]))
}

fn refused(sandbox: &Sandbox, dir: &str, attacks: &[&str]) {
    for attack in attacks {
        let ran = inside(sandbox, dir, attack);
        assert_ne!(ran.code, 0, "{dir}: {attack}: {ran:?}");
    }
}

#[test]
fn what_a_configuration_includes_and_names_is_kept() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work");
    sandbox.file("work/shared/first", "[include]\npath = second\n");
    sandbox.file("work/shared/second", "[core]\nhooksPath = more\n");
    sandbox.file("work/more/pre-commit", "");
    std::fs::create_dir(sandbox.path("work/hooks")).unwrap();
    git(&sandbox, "work", &["config", "include.path", "../shared/first"]);
    git(&sandbox, "work", &["config", "core.hooksPath", sandbox.path("work/hooks").to_str().unwrap()]);
    // Not UTF-8.
    let mut config = std::fs::read(sandbox.path("work/.git/config")).unwrap();
    config.extend_from_slice(b"[user]\nname = J\xe9\n");
    std::fs::write(sandbox.path("work/.git/config"), config).unwrap();
    refused(
        &sandbox,
        "work",
        &[
            "echo x >>shared/first",
            "echo x >>shared/second",
            "mv shared s",
            "echo x >hooks/pre-commit",
            "mv hooks h",
            "echo x >more/pre-commit",
        ],
    );
    assert_eq!(inside(&sandbox, "work", "git status --short && touch shared/x").code, 0);
    // What is included and missing cannot be kept, and that is said.
    git(&sandbox, "work", &["config", "include.path", "../missing"]);
    let ran = inside(&sandbox, "work", "true");
    assert!(ran.stderr.contains("missing is included"), "{ran:?}");
}

#[test]
fn git_directories_of_other_shapes() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    git(&sandbox, "work", &["init", "-q", "--bare", ".bare"]);
    sandbox.file("work/.git", "gitdir: ./.bare\n");
    refused(
        &sandbox,
        "work",
        &["echo x >>.bare/config", "echo x >.bare/hooks/pre-commit", "mv .bare b", "echo x >.git"],
    );
    refused(&sandbox, "work/.bare", &["echo x >>config", "echo x >hooks/pre-receive", "mv hooks h"]);
    // Granted by a profile.
    repository(&sandbox, "out");
    let config = sandbox
        .file("c.toml", &format!("[sandbox.profile.x]\nread_write_paths = [{:?}]\n", sandbox.path("out")));
    let options = ["--config", config.to_str().unwrap(), "--profile", "x"];
    assert_eq!(sandbox.sh(&options, "touch ../out/f").code, 0);
    assert_ne!(sandbox.sh(&options, "echo x >>../out/.git/config").code, 0);
    assert!(gone(&sandbox.path("out/.git/commondir")));
}

#[test]
fn a_head_that_was_removed_lifts_nothing() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work");
    repository(&sandbox, "work/p");
    repository(&sandbox, "work/p/child");
    assert_eq!(inside(&sandbox, "work/p", "rm child/.git/HEAD").code, 0);
    refused(&sandbox, "work/p", &["echo x >>child/.git/config", "echo x >child/.git/hooks/pre-commit"]);
    // Nor does it open the repository around.
    assert_eq!(inside(&sandbox, "work/p", "rm .git/HEAD").code, 0);
    refused(&sandbox, "work/p", &["echo x >../.git/x", "cat ../tracked", "echo x >.git/config"]);
}

#[test]
fn links_on_the_way_cannot_be_replaced() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work");
    std::fs::remove_dir_all(sandbox.path("work/.git/hooks")).unwrap();
    sandbox.file("work/githooks/x", "");
    sandbox.file("work/agent/settings.json", "{}");
    symlink("../githooks", sandbox.path("work/.git/hooks")).unwrap();
    symlink("agent", sandbox.path("work/between")).unwrap();
    symlink("between", sandbox.path("work/.claude")).unwrap();
    symlink("nowhere", sandbox.path("work/.mcp.json")).unwrap();
    refused(
        &sandbox,
        "work",
        &[
            "rm .git/hooks",
            "mv .git/hooks h",
            "echo x >githooks/pre-commit",
            "rm .claude",
            "mv .claude c",
            "ln -sfn /tmp .claude",
            "rm between",
            "echo x >agent/settings.json",
            "rm .mcp.json",
            "echo x >nowhere",
        ],
    );
    assert_eq!(inside(&sandbox, "work", "touch .claude/other && cat .claude/settings.json").stdout, "{}");
    let status = sandbox.status(&["--require"]);
    assert_eq!(status["state"], "enforced", "{status}");
    assert!(gone(&sandbox.path("work/nowhere")));
    assert!(sandbox.path("work/.mcp.json").is_symlink());
}

#[test]
fn working_trees_and_their_submodules() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work/main");
    git(&sandbox, "work/main", &["worktree", "add", "-q", "../tree"]);
    refused(&sandbox, "work", &["echo /tmp >main/.git/worktrees/tree/commondir"]);

    repository(&sandbox, "library");
    repository(&sandbox, "out");
    let local = ["-c", "protocol.file.allow=always"];
    git(
        &sandbox,
        "out",
        &[&local[..], &["submodule", "--quiet", "add", "../library", "deep/library"]].concat(),
    );
    git(&sandbox, "out", &["commit", "-qm", "with a submodule"]);
    git(&sandbox, "out", &["worktree", "add", "-q", "../work/linked"]);
    git(&sandbox, "work/linked", &[&local[..], &["submodule", "--quiet", "update", "--init"]].concat());
    refused(
        &sandbox,
        "work/linked",
        &[
            "git -C deep/library config core.fsmonitor evil",
            "echo x >$(git -C deep/library rev-parse --git-path hooks/pre-commit)",
        ],
    );
    let script =
        "cd deep/library && echo 2 >>tracked && git -c user.name=a -c user.email=a@b commit -qam second";
    let ran = inside(&sandbox, "work/linked", script);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn files_of_a_project_keep_nobody_waiting() {
    let sandbox = Sandbox::new();
    let fifo = |path: &str| {
        let path = sandbox.path(path);
        let mode = rustix::fs::Mode::from_raw_mode(0o755);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    fifo("work/.gitmodules");
    sandbox.file("work/sub/.git", "gitdir: ../g\n");
    sandbox.file("work/g/HEAD", "");
    fifo("work/g/gitdir");
    fifo("work/command");
    let run = |dir: &str, command: &str| {
        let mut limited = std::process::Command::new("timeout");
        limited.args(["60", env!("CARGO_BIN_EXE_agor-sandbox"), "--", command]);
        ran(limited.env("HOME", sandbox.path("home")).current_dir(sandbox.path(dir)))
    };
    assert_eq!(run("work", "true").code, 0);
    assert_eq!(run("work/sub", "true").code, 0);
    assert_eq!(run("work", "./command").code, 126);
    std::fs::remove_file(sandbox.path("work/.gitmodules")).unwrap();
    symlink("/dev/zero", sandbox.path("work/.gitmodules")).unwrap();
    assert_eq!(run("work", "true").code, 0);
}
