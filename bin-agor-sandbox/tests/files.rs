//! Files: what is granted and what is not.

mod common;

use common::{Sandbox, ran};

#[test]
fn only_what_is_granted_can_be_touched() {
    let sandbox = Sandbox::new();
    sandbox.file("out/f", "secret");
    sandbox.file("ro/f", "shown");
    sandbox.file("rw/f", "old");
    let run = |script: &str| sandbox.sh(&["--ro", "../ro", "--rw", "../rw"], &format!("cd ..; {script}"));

    for path in ["out/f", "work/../out/f", "./out//f", "/proc/self/cwd/out/f", "/proc/self/root/$PWD/out/f"] {
        let denied = run(&format!("cat {path}"));
        assert_eq!(denied.code, 1, "{path}");
        assert!(denied.stderr.contains("Permission denied"), "{path}: {denied:?}");
    }
    assert_eq!(run("cat ro/f").stdout, "shown");
    for write in [
        "echo x >ro/f",
        "echo x >>ro/f",
        "rm ro/f",
        "mv ro/f rw/g",
        "ln ro/f rw/g",
        "ln out/f rw/g",
        "touch ro/g",
        "truncate -s 0 ro/f",
        "mknod rw/null c 1 3",
        "echo x >out/g",
        "ln -s $PWD/out/f rw/link; echo x >>rw/link",
    ] {
        assert_ne!(run(write).code, 0, "{write}");
    }
    assert_eq!(sandbox.read("ro/f"), "shown");
    assert_eq!(sandbox.read("out/f"), "secret");
    assert!(!sandbox.path("rw/g").exists());
    for write in [
        "echo x >rw/f && echo y >>rw/f && truncate -s 1 rw/f",
        "mkdir rw/a rw/b && echo x >rw/a/f && mv rw/a/f rw/b/g && ln rw/b/g rw/h && rm rw/b/g && rmdir rw/a rw/b",
        "ln -s f rw/l && mkfifo rw/p && rm rw/l rw/p",
    ] {
        let ran = run(write);
        assert_eq!(ran.code, 0, "{write}: {ran:?}");
    }
}

#[test]
fn executing_is_a_right_of_its_own() {
    let sandbox = Sandbox::new();
    sandbox.script("rw/s", "#!/bin/sh\necho ran\n");
    let program = sandbox.path("rw/s");
    let program = program.to_str().unwrap();
    let denied = sandbox.run(["--rw", "../rw", "--", program]);
    assert_eq!(denied.code, 126);
    assert!(denied.stderr.contains("no grant allows to execute it"), "{denied:?}");
    assert!(denied.stderr.contains("hint: --rox "), "{denied:?}");
    assert_eq!(sandbox.run(["--rwx", "../rw", "--", program]).stdout, "ran\n");
    assert_eq!(sandbox.run(["--rox", "../rw", "--", program]).stdout, "ran\n");
    // A script whose interpreter is out of reach.
    sandbox.script("out/interpreter", "#!/bin/sh\n");
    let interpreter = sandbox.path("out/interpreter");
    sandbox.script("work/s", &format!("#!{}\n", interpreter.display()));
    let denied = sandbox.run(["--", "./s"]);
    assert_eq!(denied.code, 126);
    assert!(denied.stderr.contains(interpreter.to_str().unwrap()), "{denied:?}");
    // As in a virtual environment: what the link leads to is what has to be granted.
    sandbox.file("out/python/lib/module", "1");
    std::fs::create_dir(sandbox.path("out/python/bin")).unwrap();
    common::executable::copy("/bin/sh", sandbox.path("out/python/bin/python3"));
    std::os::unix::fs::symlink("../out/python/bin/python3", sandbox.path("work/python")).unwrap();
    sandbox.script("work/s", &format!("#!{}\nexit 3\n", sandbox.path("work/python").display()));
    let denied = sandbox.run(["--", "./s"]);
    let home = sandbox.path("out/python");
    assert!(denied.stderr.contains(&format!("--rox {} would", home.display())), "{denied:?}");
    assert_eq!(sandbox.run(["--rox", home.to_str().unwrap(), "--", "./s"]).code, 3);
}

#[test]
fn statuses_are_those_of_exec_wrappers() {
    let sandbox = Sandbox::new();
    for code in [0, 1, 42, 125, 126, 127, 255] {
        assert_eq!(sandbox.sh(&[], &format!("exit {code}")).code, code);
    }
    assert_eq!(sandbox.sh(&[], "kill -TERM $$").code, 128 + 15);
    assert_eq!(sandbox.run(["--", "no-such-program"]).code, 127);
    assert_eq!(sandbox.run(["--", "./no-such-program"]).code, 127);
    sandbox.file("work/plain", "x");
    assert_eq!(sandbox.run(["--", "./plain"]).code, 126);
    assert_eq!(sandbox.run(["--", "."]).code, 126);
    for usage in
        [&["--nope", "--", "true"][..], &[], &["--"], &["true"], &["--connect-tcp", "65536", "--", "true"]]
    {
        let ran = sandbox.run(usage);
        assert_eq!(ran.code, 125, "{usage:?}");
        assert!(ran.stderr.starts_with("agor-sandbox: "), "{ran:?}");
        assert!(ran.stderr.contains("\nhint: "), "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
    assert_eq!(sandbox.run(["--help"]).code, 0);
    assert_eq!(sandbox.run(["--version"]).stdout, format!("agor-sandbox {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_missing_path_is_a_warning_or_the_end() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(["--ro", "../nowhere", "--", "echo", "ran"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "ran\n"));
    assert!(ran.stderr.contains("nowhere: no such file"), "{ran:?}");
    let ran = sandbox.run(["--require", "--ro", "../nowhere", "--", "echo", "ran"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (125, ""));
    std::os::unix::fs::symlink("loop", sandbox.path("work/loop")).unwrap();
    let ran = sandbox.run(["--ro", "loop", "--", "echo", "ran"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (125, ""));
    assert!(ran.stderr.contains("loop"), "{ran:?}");
}

#[test]
fn what_is_found_in_the_policy_is_said_before_the_command_runs() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("out").display().to_string();
    let ran = sandbox.run(["--ro", &out, "--rw", &out, "--", "true"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("is granted in two ways; the wider holds"), "{ran:?}");
    assert_eq!(sandbox.run(["--ro", &out, "--", "true"]).stderr, "");
}

#[test]
fn what_a_profile_of_the_configuration_grants_must_be_there() {
    let sandbox = Sandbox::new();
    let config = sandbox
        .file("c.toml", "[sandbox.profile.own]\nextends = \"node\"\nread_only_paths = [\"../nowhere\"]\n");
    let config = config.to_str().unwrap();
    let own = ["--config", config, "--profile", "own", "--", "true"];
    let ran = sandbox.run(own);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "what is built in need not be there: {ran:?}");
    assert!(ran.stderr.contains("nowhere: no such file"), "{ran:?}");
    assert_eq!(sandbox.run(["--require"].into_iter().chain(own)).code, 125);
    let ran = sandbox.run(["--unix", "../nowhere", "--", "true"]);
    assert!(ran.code == 0 && ran.stderr.contains("--unix") && ran.stderr.contains("no such file"), "{ran:?}");
    assert_eq!(sandbox.run(["--require", "--unix", "../nowhere", "--", "true"]).code, 125);
}

#[test]
fn without_a_working_directory_relative_paths_are_refused() {
    let sandbox = Sandbox::new();
    for options in ["--rw .", "--unix s", "--protect x"] {
        let script = format!("rmdir ../work; exec {} {options} -- true", env!("CARGO_BIN_EXE_agor-sandbox"));
        let mut shell = std::process::Command::new("sh");
        let ran = ran(shell.args(["-c", &script]).current_dir(sandbox.path("work")));
        assert_eq!(ran.code, 125, "{ran:?}");
        assert!(ran.stderr.contains("the working directory is gone"), "{ran:?}");
        std::fs::create_dir(sandbox.path("work")).unwrap();
    }
}

#[test]
fn a_protection_that_a_grant_lifts_is_said() {
    let sandbox = Sandbox::new();
    sandbox.file("work/d/f", "x");
    let ran = sandbox.run(["--rw", "d", "--protect", "d", "--", "true"]);
    assert!(ran.code == 0 && ran.stderr.contains("has no effect"), "{ran:?}");
    assert_eq!(sandbox.run(["--rw", "d", "--protect", "d/f", "--", "true"]).stderr, "");
}

#[test]
fn the_home_directory_is_granted_by_no_variable() {
    let sandbox = Sandbox::new();
    let home = sandbox.path("home");
    for (variable, place) in [
        ("TMPDIR", home.as_path()),
        ("TMPDIR", std::path::Path::new("/")),
        ("AGOR_DATA_DIR", home.as_path()),
        ("CLAUDE_CONFIG_DIR", home.as_path()),
    ] {
        let mut command = sandbox.command();
        let ran = ran(command.env(variable, place).args(["explain", "--profile", "claude"]));
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(!ran.stdout.contains(&format!(" {}  [", place.display())), "{variable}: {ran:?}");
        assert!(ran.stdout.contains(&format!("{variable} names the home directory")), "{ran:?}");
    }
}

#[test]
fn the_home_directory_is_known_without_its_variable() {
    let user = format!(":{}:", rustix::process::geteuid().as_raw());
    let table = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = table
        .lines()
        .find(|line| line.splitn(3, ':').nth(2).is_some_and(|rest| rest.starts_with(&user[1..])));
    let Some(home) =
        line.and_then(|line| line.split(':').nth(5)).filter(|home| std::path::Path::new(home).is_dir())
    else {
        return common::skip("this user has no home directory");
    };
    let sandbox = Sandbox::new();
    for value in [None, Some(""), Some("relative")] {
        let mut command = sandbox.command();
        command.env_remove("HOME").envs(value.map(|value| ("HOME", value)));
        let ran = ran(command.current_dir(home).arg("explain"));
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("is not granted as a project"), "{value:?}: {ran:?}");
    }
}

#[test]
fn of_nested_grants_the_innermost_holds() {
    if !common::namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("work/a/b/c")).unwrap();
    let script = "touch a/x; touch a/b/x; touch a/b/c/x; rm -r a; mv a z";
    let there = |path: &str| sandbox.path(path).exists();
    let ran = sandbox.sh(&["--require", "--ro", "a", "--rw", "a/b", "--ro", "a/b/c"], script);
    assert!(
        !there("work/a/x") && there("work/a/b/c") && !there("work/a/b/c/x") && there("work/a"),
        "{ran:?}"
    );
    std::fs::write(sandbox.path("work/a/b/x"), "").unwrap();
    let ran = sandbox.sh(&["--ro", "a", "--rw", "a/b"], "echo new >a/b/x && mv a/b/x a/b/y");
    assert!(ran.code == 0 && there("work/a/b/y"), "{ran:?}");
    let ran = sandbox.sh(&["--explain-denials", "--ro", "a", "--rw", "a/b"], "touch a/x a/b/z");
    assert!(ran.stderr.contains("change") && ran.stderr.contains("/work/a lifts"), "{ran:?}");
    assert!(!ran.stderr.contains("a/b/z") && there("work/a/b/z"), "{ran:?}");
}

#[test]
fn what_a_profile_of_the_configuration_only_reads_is_never_written() {
    if !common::namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("work/a/b")).unwrap();
    let run = |profile: &str, options: &[&str], script: &str| {
        let config = sandbox.file("c.toml", &format!("[sandbox.profile.own]\n{profile}\n"));
        let own = ["--config", config.to_str().unwrap(), "--profile", "own"];
        sandbox.sh(&[&own, options].concat(), script)
    };
    for profile in [
        "read_only_paths = ['a']",
        "read_only_paths = ['.']",
        "read_only_paths = ['a']\nread_write_paths = ['.']",
        "read_execute_paths = ['a']\nread_write_paths = ['.']\nextends = 'strict'",
    ] {
        let ran = run(profile, &["--require"], "cat a/x; touch a/x");
        assert_ne!(ran.code, 0, "{profile}: {ran:?}");
        assert!(!sandbox.path("work/a/x").exists() && ran.stderr.contains("touch"), "{profile}: {ran:?}");
    }
    // The command line has the last word, and what is executed stays that.
    let ran = run("read_only_paths = ['a', '/usr', '/bin', '/lib']", &["--rw", "a"], "touch a/x");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let ran = run("read_only_paths = ['a']\nread_write_paths = ['.', 'a/b']", &[], "touch a/b/x");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

/// Many a home directory is reached by a link, and the working directory has the other name.
#[test]
fn a_home_directory_that_is_a_link_is_no_project() {
    let sandbox = Sandbox::new();
    sandbox.file("home/.ssh/id", "secret");
    std::os::unix::fs::symlink(sandbox.path("home"), sandbox.path("link")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("."), sandbox.path("up")).unwrap();
    let read = |set: &[(&str, &str)], dir: &str| {
        let mut command = sandbox.command();
        command
            .envs(set.iter().map(|(name, value)| (name, sandbox.path(value))))
            .current_dir(sandbox.path(dir));
        ran(command.args(["--", "/bin/cat"]).arg(sandbox.path("home/.ssh/id")))
    };
    for (set, dir) in [
        (&[("HOME", "link")][..], "home"),
        (&[("TMPDIR", "link")], "work"),
        (&[("HOME", "link"), ("TMPDIR", "home")], "work"),
        (&[("JAVA_HOME", "link")], "work"),
        (&[("PATH", "link")], "work"),
        (&[("PATH", "up")], "work"),
    ] {
        // Without a directory of its own for them, temporary files have /tmp. Where this checkout lies there, it is
        // granted with the home directory in it, and nothing can be told.
        let in_tmp = ["/tmp", "/var/tmp"].iter().any(|dir| sandbox.path("home").starts_with(dir));
        if in_tmp && set.iter().any(|(name, _)| *name == "TMPDIR") {
            continue;
        }
        let ran = read(set, dir);
        assert!(ran.code == 1 && ran.stdout.is_empty(), "{set:?} {dir}: {ran:?}");
    }
}
