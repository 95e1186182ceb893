//! The world of COMMAND: what is handed on untouched, and what is taken away.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;

use common::{Sandbox, has, ran, skip};

#[test]
fn arguments_pass_untouched() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(100_000);
    let words = ["", "--rw", "a b", "\"'$x", "line\nline", "--", long.as_str()];
    let ran = sandbox.run(["--", "sh", "-c", "printf '%s|' \"$0\" \"$@\"", "zero"].into_iter().chain(words));
    assert_eq!(ran.stdout, format!("zero|{}|", words.join("|")));
    let raw = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let output = sandbox.command().args(["--", "printf", "%s"]).arg(raw).output().unwrap();
    assert_eq!(output.stdout, b"\xff\xfe");
}

#[test]
fn directory_umask_priority_and_environment_stay() {
    let sandbox = Sandbox::new();
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    command
        .args(["-c", &format!("umask 027; exec nice -n 5 {program} -- sh -c 'umask; nice; pwd; echo $FOO'")])
        .env("FOO", "bar baz")
        .env("HOME", sandbox.path("home"))
        .env("AGOR_DATA_DIR", sandbox.path("data"))
        .current_dir(sandbox.path("work"));
    let got = ran(&mut command);
    let work = sandbox.path("work").canonicalize().unwrap();
    let nice = ran(std::process::Command::new("nice").args(["-n", "5", "nice"])).stdout;
    assert_eq!(got.stdout, format!("0027\n{nice}{}\nbar baz\n", work.display()), "{got:?}");
}

#[test]
fn signal_dispositions_are_those_that_were_inherited() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    let ignored = |setup: &str| {
        let script = format!("{setup} exec {program} -- grep -E '^Sig(Ign|Blk)' /proc/self/status");
        ran(std::process::Command::new("bash")
            .args(["-c", &script])
            .env("HOME", sandbox.path("home"))
            .current_dir(sandbox.path("work")))
        .stdout
    };
    let direct = |setup: &str| {
        ran(std::process::Command::new("bash")
            .args(["-c", &format!("{setup} exec grep -E '^Sig(Ign|Blk)' /proc/self/status")]))
        .stdout
    };
    for setup in ["", "trap '' PIPE;", "trap '' HUP INT;"] {
        assert_eq!(ignored(setup), direct(setup), "{setup}");
    }
}

#[test]
fn closed_standard_descriptors_stay_closed() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    let ran = ran(std::process::Command::new("bash")
        .args([
            "-c",
            &format!("exec {program} -- sh -c 'test -e /proc/self/fd/0 && echo open || echo closed' <&-"),
        ])
        .env("HOME", sandbox.path("home"))
        .current_dir(sandbox.path("work")));
    assert_eq!(ran.stdout, "closed\n", "{ran:?}");
}

#[test]
fn descriptors_above_two_are_closed_unless_kept() {
    let sandbox = Sandbox::new();
    let file = std::fs::File::open(sandbox.file("out/f", "through the descriptor")).unwrap();
    let open = |options: &[&str]| {
        let mut command = sandbox.command();
        command.args(options).args(["--", "sh", "-c", "cat <&9"]);
        let fd = file.as_raw_fd();
        // SAFETY: dup2 and fcntl are async-signal-safe, and 9 belongs to nobody in the child, if not to the file
        // itself.
        #[expect(unsafe_code, reason = "a descriptor of this number for the child")]
        unsafe {
            command.pre_exec(move || {
                let done = if fd == 9 { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, 9) };
                if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        ran(&mut command)
    };
    assert_ne!(open(&[]).code, 0);
    assert_eq!(open(&["--keep-fd", "9"]).stdout, "through the descriptor");
}

#[test]
fn the_environment_is_filtered() {
    let sandbox = Sandbox::new();
    let names = |options: &[&str]| {
        let mut command = sandbox.command();
        command.args(options).args(["--", "env"]);
        for name in ["LD_PRELOAD_X", "NODE_OPTIONS", "PYTHONSTARTUP", "PERL5OPT", "GH_TOKEN", "FOO"] {
            command.env(name, "v");
        }
        let mut names: Vec<String> =
            ran(&mut command).stdout.lines().map(|line| line.split('=').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let base = ["AGOR_DATA_DIR", "HOME", "LC_ALL", "PATH", "TMPDIR"];
    let with = |more: &[&str]| {
        let mut all: Vec<String> = base.iter().chain(more).map(|name| (*name).to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(names(&[]), with(&["FOO", "GH_TOKEN"]));
    assert_eq!(
        names(&["--env-keep", "LD_*", "--env", "NODE_OPTIONS"]),
        with(&["FOO", "GH_TOKEN", "LD_PRELOAD_X", "NODE_OPTIONS"])
    );
    assert_eq!(names(&["--env-clean", "--env", "A=1", "--env", "MISSING"]), with(&["A"]));
    let strict = sandbox.run(["--profile", "strict", "--env", "X=a=b", "--", "printenv", "X"]);
    assert_eq!(strict.stdout, "a=b\n", "{strict:?}");
}

#[test]
fn limits_are_set_and_nothing_can_be_gained() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .sh(&["--rlimit", "nofile=100:200", "--rlimit", "core=0"], "ulimit -Sn; ulimit -Hn; ulimit -c");
    assert_eq!(ran.stdout, "100\n200\n0\n");
    let status = sandbox.sh(&[], "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status").stdout;
    assert_eq!(status.matches("0000000000000000").count(), 4, "{status}");
    assert!(status.contains("NoNewPrivs:\t1"));
    let layers = sandbox.status(&[])["layers"].clone();
    let state = |name: &str| {
        layers.as_array().unwrap().iter().find(|layer| layer["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!(state("capabilities"), "enforced");
    if state("mounts") == "enforced" {
        let bounding = sandbox.sh(&[], "grep CapBnd /proc/self/status").stdout;
        assert!(bounding.contains("0000000000000000"), "{bounding}");
    }
}

#[test]
fn other_processes_are_out_of_reach() {
    let sandbox = Sandbox::new();
    let pid = std::process::id();
    for path in ["mem", "environ", "maps", "root/etc/passwd", "fd"] {
        let ran = sandbox.sh(
            &[],
            &format!("ls /proc/{pid}/{path} >/dev/null && head -c1 /proc/{pid}/{path}/* /proc/{pid}/{path}"),
        );
        assert_ne!(ran.code, 0, "{path}: {ran:?}");
    }
    if common::landlock_abi() >= 6 {
        assert_ne!(sandbox.sh(&[], &format!("kill -0 {pid}")).code, 0);
    }
    assert_eq!(sandbox.sh(&[], "sleep 10 & kill $!; wait $!; echo $?").stdout, "143\n");
    if !has("/usr/bin/python3") {
        return skip("no python3");
    }
    // Numbers for x86-64 and others alike: through libc's syscall().
    let calls = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n\
        def call(*a):\n ctypes.set_errno(0); r = libc.syscall(*a); return ctypes.get_errno() if r < 0 else 0\n\
        print(call(425, 1, 0), call(250, 0, 0, 0, 0), call(321, 0, 0, 0), call(272, 0x10000000), call(272, 0x20000), call(165, 0, 0, 0, 0, 0), call(308, 0, 0))";
    if cfg!(target_arch = "x86_64") {
        assert_eq!(sandbox.python(&[], calls).stdout, "1 1 1 1 1 1 1\n");
    }
    let typing = "import fcntl, os, pty\nm, s = pty.openpty()\nfor r in (0x5412, 0x541c):\n try:\n  fcntl.ioctl(s, r, b'x'); print('typed')\n except OSError as e: print(e.errno)";
    assert_eq!(sandbox.python(&[], typing).stdout, "1\n1\n");
    // Limits of another process are as good as a signal; one's own can be set.
    let limits = format!(
        "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n\
        try:\n resource.prlimit({pid}, resource.RLIMIT_CORE); print('seen')\nexcept OSError as e: print(e.errno)"
    );
    assert_eq!(sandbox.python(&[], &limits).stdout, "1\n");
    let ptrace = "import ctypes, os, time\np = os.fork()\nif p == 0: time.sleep(10)\nprint(ctypes.CDLL(None).ptrace(16, p, 0, 0)); os.kill(p, 9)";
    assert_eq!(sandbox.python(&[], ptrace).stdout, "0\n");
    assert_eq!(sandbox.python(&["--no-ptrace"], ptrace).stdout, "-1\n");
}

#[test]
fn no_program_with_the_rights_of_its_owner_can_be_made() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .sh(&[], "cp /bin/true x; chmod 4755 x; chmod 2755 x && echo group; chmod 755 x && echo plain");
    assert_eq!(ran.stdout, "group\nplain\n", "{ran:?}");
    let meta = std::fs::metadata(sandbox.path("work/x")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777, 0o755);
}

#[test]
fn a_caller_that_ignores_its_children_can_observe_too() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    let mut command = std::process::Command::new("sh");
    let script = format!("trap '' CHLD; exec {program} --explain-denials -- sh -c 'trap; exit 7'");
    command.args(["-c", &script]).env("HOME", sandbox.path("home")).current_dir(sandbox.path("work"));
    let ran = ran(&mut command);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert_eq!(
        common::ran(
            std::process::Command::new("sh").args(["-c", &format!("trap '' CHLD; exec {program} explain")])
        )
        .code,
        0
    );
}

#[test]
fn dies_with_its_parent_when_asked() {
    for options in ["--die-with-parent", "--die-with-parent --explain-denials"] {
        dies_with_its_parent(options);
    }
}

fn dies_with_its_parent(options: &str) {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    let script = format!("{program} {options} -- sh -c 'echo $$; exec sleep 1000' & wait");
    let mut shell = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("HOME", sandbox.path("home"))
        .current_dir(sandbox.path("work"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    let stat = format!("/proc/{}/stat", line.trim());
    let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(common::soon(|| !runs()), "still there");
}

#[test]
fn the_status_goes_where_it_is_sent() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(["--status-fd", "2", "--", "echo", "out"]);
    assert_eq!(ran.stdout, "out\n");
    let status: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert!(ran.stderr.contains("{\"schema\":1,"));
    for layer in status["layers"].as_array().unwrap() {
        assert!(
            ["enforced", "degraded", "absent", "off"].contains(&layer["state"].as_str().unwrap()),
            "{layer}"
        );
    }
    assert_eq!(sandbox.run(["--status-fd", "99", "--", "echo", "out"]).code, 125);
}

#[test]
fn explain_says_everything_and_runs_nothing() {
    let sandbox = Sandbox::new();
    let marker = sandbox.path("work/made");
    let ran = sandbox.run(["explain", "--rw", "../out", "--connect-tcp", "443", "--", "touch", "made"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!marker.exists() && std::fs::read_dir(sandbox.path("work")).unwrap().count() == 0);
    assert!(ran.stdout.contains("read write") && ran.stdout.contains("connect to TCP ports  443"), "{ran:?}");
    assert!(ran.stdout.contains("ld.so FILE"), "the known ways around execute");
    let ran = sandbox.run(["explain", "--json", "--rw", "../out"]);
    assert!(ran.stdout.starts_with("{\"schema\":1,"), "{ran:?}");
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let grants = plan["grants"].as_array().unwrap();
    let out = grants.iter().find(|grant| grant["path"].as_str().unwrap().ends_with("/out")).unwrap();
    assert_eq!((out["write"].as_bool(), out["execute"].as_bool()), (Some(true), Some(false)));
    let doctor = sandbox.run(["doctor", "--json"]);
    assert!(doctor.stdout.starts_with("{\"schema\":1,") && doctor.code <= 1, "{doctor:?}");
}

#[test]
fn hard_links_are_found_and_profiles_extend() {
    let sandbox = Sandbox::new();
    let outside = sandbox.file("out/f", "x");
    std::fs::hard_link(&outside, sandbox.path("work/alias")).unwrap();
    // A repository of its own: the one around this checkout is granted too, and a local clone's objects
    // are hard links by the hundred.
    sandbox.file("work/.git/HEAD", "ref: refs/heads/main\n");
    let ran = sandbox.run(["--check", "--", "true"]);
    assert!(ran.stderr.contains("alias has 1 more name(s) outside"), "{ran:?}");
    let config = sandbox.file(
        "agor.toml",
        "[sandbox.profile.mine]\nextends = 'strict'\nread_only_paths = ['~/shown']\nenv = { A = 'b' }\n",
    );
    sandbox.file("home/shown/f", "shown");
    let config = config.to_str().unwrap();
    let ran = sandbox.run([
        "--config",
        config,
        "--profile",
        "mine",
        "--",
        "sh",
        "-c",
        "cat ~/shown/f; echo $A; echo x >f",
    ]);
    assert_eq!(ran.stdout, "shownb\n", "{ran:?}");
    assert_ne!(ran.code, 0, "strict has no project");
    std::fs::write(config, "[sandbox]\nrequired = true\n").unwrap();
    let ran = sandbox.run(["--config", config, "--", "true"]);
    assert_eq!(ran.code, 125);
    assert!(ran.stderr.contains("agor.toml:2: unknown field `required`"), "{ran:?}");
}

#[test]
fn sixteen_deep_and_no_deeper() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    let dir = std::path::Path::new(program).parent().unwrap().to_str().unwrap();
    let nested = |depth: usize| {
        let mut words = Vec::new();
        for _ in 0..depth {
            words.extend([program, "--rox", dir, "--"]);
        }
        words.extend(["echo", "ran"]);
        let mut command = sandbox.command();
        ran(command.args(&words[1..]))
    };
    let deep = nested(16);
    assert_eq!((deep.code, deep.stdout.as_str(), deep.stderr.as_str()), (0, "ran\n", ""));
    let deeper = nested(17);
    assert_eq!(deeper.code, 125, "{deeper:?}");
    assert!(deeper.stderr.contains("17th"), "{deeper:?}");
}

#[test]
fn five_thousand_rules() {
    let sandbox = Sandbox::new();
    let mut words = Vec::new();
    for number in 0..5000 {
        let path = sandbox.path(format!("out/{number}"));
        std::fs::write(&path, number.to_string()).unwrap();
        words.push("--ro".to_owned());
        words.push(path.to_str().unwrap().to_owned());
    }
    sandbox.file("out/hidden", "x");
    words.extend(["--", "sh", "-c", "cat ../out/0 ../out/4999; cat ../out/hidden"].map(String::from));
    let ran = sandbox.run(&words);
    assert_eq!((ran.stdout.as_str(), ran.code), ("04999", 1), "{}", ran.stderr);
}

#[test]
fn odd_surroundings_are_no_obstacle() {
    let sandbox = Sandbox::new();
    sandbox.script("work/target/debug/x", "#!/bin/sh\necho ran\n");
    for name in ["target/debug/x", "./target/debug/x"] {
        // A program that the project built is no finding: only this program and its own configuration are.
        let ran = ran(sandbox.command().args(["--", name]));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "ran\n", ""), "{name}");
    }
    for taken in [&["HOME"][..], &["PATH"], &["HOME", "PATH", "TMPDIR", "AGOR_DATA_DIR"]] {
        let mut command = sandbox.command();
        for name in taken {
            command.env_remove(name);
        }
        assert_eq!(ran(command.args(["--", "/bin/true"])).code, 0, "without {taken:?}");
    }
    assert_eq!(ran(sandbox.command().env("PATH", "").args(["--", "/bin/true"])).code, 0);
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    // Hardly any descriptors: the grants are there, what cannot be kept is said, and nothing half made stays.
    // No redirection: dash wants a descriptor above 9 for that.
    sandbox.file("work/in", "x\n");
    for most in 8..16 {
        let few = ran(std::process::Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -n {most} && exec {program} -- sh -c 'cp in f && cat f /dev/null'"),
            ])
            .env("HOME", sandbox.path("home"))
            .current_dir(sandbox.path("work")));
        assert!(matches!((few.code, few.stdout.as_str()), (0, "x\n") | (125, "")), "{few:?}");
        let gone = || !sandbox.path("work/.claude").exists() && !sandbox.path("work/.mcp.json").exists();
        assert!(common::soon(gone), "with {most} descriptors something stays: {few:?}");
    }
    // A working directory that is gone.
    let gone = ran(std::process::Command::new("sh")
        .args(["-c", &format!("mkdir gone && cd gone && rmdir ../gone && exec {program} -- /bin/true")])
        .env("HOME", sandbox.path("home"))
        .current_dir(sandbox.path("work")));
    assert_eq!(gone.code, 0, "{gone:?}");
}

#[test]
fn a_working_directory_that_this_user_cannot_reach_is_no_hindrance() {
    use std::os::unix::fs::PermissionsExt as _;
    if !rustix::process::geteuid().is_root() || !has("setpriv") {
        return skip("not root, or no setpriv");
    }
    // The directory of a Sandbox is its owner's alone.
    let sandbox = Sandbox::new();
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("agor-sandbox");
    common::executable::copy(env!("CARGO_BIN_EXE_agor-sandbox"), &program);
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
    command.args(["--", "/bin/echo", "ran"]).env("HOME", "/nonexistent").current_dir(sandbox.path("work"));
    let got = ran(&mut command);
    assert_eq!((got.code, got.stdout.as_str()), (0, "ran\n"), "{got:?}");
}
