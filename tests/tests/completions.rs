//! The completions, in the shells that they are for.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use agor_tests::{TOOLS, World, bin_dir, executable, skip, stderr, stdout, top};

/// Two agents, a channel, a dead letter's worth of profile: what there is to complete.
fn world() -> World {
    let world = World::new();
    for (id, role) in [("boss", "manager"), ("coder", "project"), ("o'brien", "project")] {
        let output = world.run("btmsg", &["register", id, id, role, "team"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    // The data is asked for with a timeout of two seconds, which a start may take here.
    std::fs::create_dir(world.path("bin")).unwrap();
    executable::write(world.path("bin/timeout"), "#!/bin/sh\nshift\nexec \"$@\"\n");
    std::fs::write(
        world.path("agor.toml"),
        "[sandbox.profile.house]\nextends = \"default\"\n[sandbox.profile.\"quoted\"]\nextends = \"default\"\n",
    )
    .unwrap();
    let output = world.run("agor-supervise", &["--name", "nightly", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    world
}

fn has(shell: &str) -> bool {
    let there = std::process::Command::new(shell).args(["-c", "exit 0"]).status().is_ok_and(|s| s.success());
    if !there {
        skip(&format!("{shell} is not installed: its completions are not tried"));
    }
    there
}

/// What `shell` offers for `line`, of which the last word is being completed.
fn offers(world: &World, shell: &str, line: &[&str]) -> Vec<String> {
    let dir = top().join("packaging/completions");
    let tool = line[0];
    // A zsh that lost its first keys says nothing more: it is ended, and asked again.
    let mut command = if shell == "zsh" {
        let mut command = world.command("timeout");
        command.args(["30", shell]);
        command
    } else {
        world.command(shell)
    };
    let path =
        format!("{}:{}:{}", world.path("bin").display(), bin_dir().display(), std::env::var("PATH").unwrap());
    command.env("AGOR_CONFIG", world.path("agor.toml"));
    command.env("PATH", path);
    match shell {
        "bash" => command.args([
            "--norc",
            "-c",
            r#"source "$1"; shift
            spec=$(complete -p "$1") || exit 9
            function=${spec#*-F } function=${function%% *}
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
            before=''; [ $# -lt 2 ] || before=${COMP_WORDS[COMP_CWORD - 1]}
            "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "$before"
            printf '%s\n' "${COMPREPLY[@]}""#,
            "bash",
        ]),
        "fish" => command.args(["--no-config", "-c", "source $argv[1]; complete -C (string join -- ' ' $argv[2..-1])"]),
        // A shell on a terminal of its own, as completion works only there. Candidates are printed by a
        // compadd that is put in the way of the builtin.
        _ => command.args([
            "-f",
            "-c",
            r#"zmodload zsh/zpty; dir=${1:h}; shift
            zpty z zsh -f -i
            zpty -w z "PROMPT=; fpath=($dir \$fpath); autoload -Uz compinit; compinit -u -D; setopt no_beep"
            zpty -w z 'compadd() { local -a o; builtin compadd -O o "$@"; (( $#o )) && print -rl -- "offer:"${^o}; builtin compadd "$@" }'
            zpty -w z 'print ready:; bindkey "^I" complete-word; print "re""ady"'
            while zpty -r z said '*'$'\n'; do [[ $said == *ready$'\r'* && $said != *print* ]] && break; done
            zpty -n -w z "$*"$'\t'
            zpty -n -w z $'\C-U'; zpty -w z 'print "fin""ished"'
            while zpty -r z said '*'$'\n'; do
                [[ $said == *finished$'\r'* && $said != *print* ]] && break
                print -rn -- "$said"
            done
            zpty -d z"#,
            "zsh",
        ]),
    };
    let file = match shell {
        "bash" => format!("{tool}.bash"),
        "fish" => format!("{tool}.fish"),
        _ => format!("_{tool}"),
    };
    let output = command.arg(dir.join(file)).args(line).output().expect("the shell starts");
    if shell == "zsh" && output.status.code() == Some(124) {
        return Vec::new();
    }
    assert!(output.status.success(), "{shell} {line:?}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{shell} {line:?}");
    let text = stdout(&output);
    let offers = text.lines().filter_map(|line| match shell {
        "zsh" => line.trim_end().rsplit_once("offer:").map(|(_, word)| word.to_owned()),
        // fish appends a description after a tab.
        _ => Some(line.split('\t').next().unwrap_or_default().to_owned()),
    });
    offers.filter(|word| !word.is_empty()).collect()
}

/// The same, asked again where nothing came: zsh's own start on its terminal can swallow the first keys.
fn offered(world: &World, shell: &str, line: &[&str]) -> Vec<String> {
    let mut tries = (0..4).map(|_| offers(world, shell, line));
    tries.find(|found| !found.is_empty()).unwrap_or_default()
}

fn live_data(shell: &str) {
    if !has(shell) {
        return;
    }
    let world = world();
    for (line, wanted) in [
        (&["btmsg", "send", "co"][..], "coder"),
        (&["btmsg", "--as", "bo"][..], "boss"),
        (&["btmsg", "--as", "boss", "send", "co"][..], "coder"),
        (&["btmsg", "history", "bo"][..], "boss"),
        (&["agor-supervise", "status", "ni"][..], "nightly"),
        (&["agor-sandbox", "--profile", "ho"][..], "house"),
        (&["agor-sandbox", "--profile", "qu"][..], "quoted"),
        (&["agor-sandbox", "--profile", "st"][..], "strict"),
        (&["agor-sandbox", "explain", "--profile", "ho"][..], "house"),
    ] {
        let offers = offered(&world, shell, line);
        assert!(offers.iter().any(|word| word == wanted), "{shell} {line:?}: {offers:?}");
        let start = line.last().unwrap();
        assert!(offers.iter().all(|word| word.starts_with(start)), "{shell} {line:?}: {offers:?}");
    }
    // Options and commands are still those of the argument definitions.
    for (line, wanted) in [
        (&["btmsg", "heart"][..], "heartbeat"),
        (&["btmsg", "dlq", "re"][..], "redrive"),
        (&["agor-checkpoint", "--inter"][..], "--interval"),
        (&["agor-relay", "--tls-c"][..], "--tls-cert"),
        (&["agor-sandbox", "--r"][..], "--rw"),
    ] {
        let offers = offered(&world, shell, line);
        assert!(
            offers.iter().any(|word| word.trim_end_matches('=') == wanted),
            "{shell} {line:?}: {offers:?}"
        );
    }
}

#[test]
fn bash_completes_live_data() {
    live_data("bash");
}

#[test]
fn zsh_completes_live_data() {
    live_data("zsh");
}

#[test]
fn fish_completes_live_data() {
    live_data("fish");
}

#[test]
fn bash_splits_options_at_the_equals_sign() {
    let world = world();
    assert_eq!(offered(&world, "bash", &["btmsg", "--as", "=", "bo"]), ["boss"]);
    assert_eq!(offered(&world, "bash", &["btmsg", "--as", "="]).len(), 3);
}

#[test]
fn bash_quotes_what_a_shell_would_read() {
    let world = world();
    assert_eq!(offered(&world, "bash", &["btmsg", "send", "o"]), ["o\\'brien"]);
}

#[test]
fn bash_completes_the_command_to_run_as_one() {
    let world = world();
    let offers = offered(&world, "bash", &["agor-supervise", "--name", "x", "--", "agor-sand"]);
    assert_eq!(offers, ["agor-sandbox"]);
}

#[test]
fn without_data_or_programs_nothing_is_said() {
    for shell in ["bash", "fish"] {
        if !has(shell) {
            continue;
        }
        let world = World::new();
        std::fs::write(world.path("data/btmsg.db"), "this is no database, and completion must not mind")
            .unwrap();
        assert_eq!(offers(&world, shell, &["btmsg", "--as", "co"]), Vec::<String>::new(), "{shell}");
    }
}

#[test]
fn every_tool_has_completions_that_its_shell_reads() {
    let world = World::new();
    let dir = top().join("packaging/completions");
    for tool in TOOLS {
        for (shell, file) in
            [("bash", format!("{tool}.bash")), ("zsh", format!("_{tool}")), ("fish", format!("{tool}.fish"))]
        {
            if !has(shell) {
                continue;
            }
            let output = world.command(shell).arg("-n").arg(dir.join(&file)).output().unwrap();
            assert!(output.status.success() && stderr(&output).is_empty(), "{file}: {}", stderr(&output));
        }
    }
}
