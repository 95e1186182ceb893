//! Real programs in the default profile: git, cargo, node, python3, and the agents themselves, which work on a
//! project with a stand-in for their models.
//!
//! The agents are used when they are found on PATH, or in the `bin` directory that
//! `AGOR_TEST_AGENTS` names (`npm install --prefix DIR -g @anthropic-ai/claude-code @openai/codex`).
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod common;
#[path = "common/model.rs"]
mod model;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ran, Sandbox, ran, skip};
use model::Model;

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

/// What a hostile or careless model would have its agent do, between what a useful one would.
const STEPS: &[&str] = &[
    "echo one >made && git add -A && git commit -qm second && git ls-files | tr '\\n' ' '",
    "cat ~/.ssh/id_ed25519",
    "echo x >.git/hooks/pre-commit",
    "echo x >~/.claude/settings.json; echo x >.claude/settings.json; echo x >.codex/config.toml",
    "mkdir sub && python3 -c 'open(\"sub/f\", \"w\").write(\"1\")' && git worktree add -q tree && ls tree",
];

/// The agent with a stand-in for its model, told to do all of it. What it says, and what came of each step.
fn works(sandbox: &Sandbox, agent: &str, model: &Model) -> Ran {
    let base = format!("ANTHROPIC_BASE_URL=http://127.0.0.1:{}", model.port);
    let provider = format!(
        "model_providers.stub={{name='stub',base_url='http://127.0.0.1:{}/v1',wire_api='responses',env_key='STUB_KEY'}}",
        model.port
    );
    let mut words =
        vec!["env", &base, "ANTHROPIC_API_KEY=sk-stub", "STUB_KEY=x", "IS_SANDBOX=1", QUIET, agent];
    match agent {
        "claude" => words.extend(["-p", "go", "--output-format", "json", "--dangerously-skip-permissions"]),
        _ => words.extend([
            "exec",
            "-c",
            "model_provider=stub",
            "-c",
            &provider,
            "-c",
            "model=stub",
            "--sandbox",
            "danger-full-access",
            "go",
        ]),
    }
    inside(sandbox, &["--profile", agent], &words)
}

/// Nothing but the model is asked.
const QUIET: &str = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1";

#[test]
fn agents_work_on_a_project() {
    for agent in ["claude", "codex"] {
        if find(agent).is_none() {
            skip(&format!("{agent} is not installed; AGOR_TEST_AGENTS names the bin directory that has it"));
            continue;
        }
        let sandbox = Sandbox::new();
        sandbox.file("home/.ssh/id_ed25519", "SECRET");
        std::fs::create_dir(sandbox.path("home/.claude")).unwrap();
        std::fs::create_dir(sandbox.path("home/.codex")).unwrap();
        std::fs::write(sandbox.path("home/.claude.json"), "{}").unwrap();
        sandbox.file("home/.gitconfig", "[user]\nname = A\nemail = a@example.org\n");
        sandbox.file("work/README", "1\n");
        let git = "git init -q && git add README && git commit -qm first";
        let made = Command::new("sh")
            .args(["-c", git])
            .current_dir(sandbox.path("work"))
            .env("HOME", sandbox.path("home"))
            .status();
        assert!(made.unwrap().success());

        let model = Model::start(STEPS);
        let ran = works(&sandbox, agent, &model);
        let answers = model.answers();
        assert_eq!(ran.code, 0, "{ran:?} {answers:?}");
        assert!(ran.stdout.contains("all done"), "{ran:?}");
        assert_eq!(answers.len(), STEPS.len(), "{answers:?} {ran:?}");
        assert!(answers[0].contains("README made"), "no stand-in was committed: {answers:?}");
        assert!(answers[1].contains("Permission denied"), "{answers:?}");
        assert!(!answers.concat().contains("SECRET"), "{answers:?}");
        assert!(answers[4].contains("README") && answers[4].contains("made"), "{answers:?}");
        assert!(!sandbox.path("work/.git/hooks/pre-commit").exists());
        assert_eq!(sandbox.read("work/sub/f"), "1");
        // What it keeps of a session was written.
        let state = sandbox.path("home").join(format!(".{agent}"));
        assert!(std::fs::read_dir(state).unwrap().count() > 0);
        if common::namespaces() {
            // Some shells have words of their own for it.
            assert!(answers[2].to_lowercase().contains("read-only file system"), "{answers:?}");
            assert!(sandbox.read("work/.git/config").contains("repositoryformatversion"));
            assert!(common::gone(&sandbox.path("work/.claude")));
        }
    }
}

#[test]
fn claude_starts_on_a_terminal_without_a_complaint() {
    if find("claude").is_none() || !common::has("tmux") {
        return skip("claude or tmux is not installed");
    }
    let sandbox = Sandbox::new();
    let work = sandbox.path("work");
    std::fs::create_dir(sandbox.path("home/.claude")).unwrap();
    let known = format!(
        "{{\"hasCompletedOnboarding\": true, \"theme\": \"dark\",
          \"customApiKeyResponses\": {{\"approved\": [\"sk-stub\"], \"rejected\": []}},
          \"projects\": {{{work:?}: {{\"hasTrustDialogAccepted\": true, \"allowedTools\": []}}}}}}"
    );
    std::fs::write(sandbox.path("home/.claude.json"), known).unwrap();
    let model = Model::start(&[]);
    let tmux = |words: &[&str]| {
        let socket = sandbox.path("out/tmux");
        let output =
            Command::new("tmux").arg("-S").arg(socket).args(["-f", "/dev/null"]).args(words).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    let command = format!(
        "cd {work:?} && exec env -i HOME={:?} TMPDIR={:?} PATH={:?} TERM=screen ANTHROPIC_API_KEY=sk-stub {QUIET} \
         ANTHROPIC_BASE_URL=http://127.0.0.1:{} {:?} -- claude",
        sandbox.path("home"),
        sandbox.path("tmp"),
        agents_path(),
        model.port,
        env!("CARGO_BIN_EXE_agor-sandbox"),
    );
    tmux(&["new-session", "-d", "-x", "100", "-y", "40", &command]);
    let mut screen = String::new();
    for _ in 0..900 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        screen = tmux(&["capture-pane", "-p"]);
        if screen.contains("❯") || screen.contains("Settings Error") {
            break;
        }
    }
    tmux(&["kill-server"]);
    assert!(screen.contains("❯"), "{screen}");
    assert!(!screen.contains("Settings Error") && !screen.contains("EISDIR"), "{screen}");
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
fn sqlite_finds_room_for_what_does_not_fit_into_memory() {
    if !common::has("/usr/bin/python3") {
        return skip("no python3");
    }
    let sandbox = Sandbox::new();
    let script = "import sqlite3; c = sqlite3.connect('a.db'); c.execute('pragma cache_size = 10'); \
        c.execute('create table t(x)'); c.executemany('insert into t values(?)', [(str(i) * 300,) for i in range(9000)]); \
        print(len(c.execute('select x from t order by x').fetchall()))";
    let mut command = sandbox.command();
    // Without TMPDIR it goes to /var/tmp first.
    let ran = ran(command.env_remove("TMPDIR").args(["--", "/usr/bin/python3", "-c", script]));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "9000\n"), "{ran:?}");
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
