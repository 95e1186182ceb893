//! Every kernel: no Landlock for each reason, and every ABI from 1 to beyond the newest.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "common/kernel.rs"]
mod kernel;

mod common;

use std::ffi::OsString;
use std::process::Stdio;

use common::{Sandbox, ran};

const DISABLED: [(i32, &str); 4] = [
    (libc::ENOSYS, "not in this kernel"),
    (libc::EOPNOTSUPP, "disabled at boot"),
    (libc::EPERM, "container's seccomp profile"),
    (libc::EINVAL, "does not understand"),
];

#[test]
fn without_landlock_there_is_one_warning_or_the_end() {
    let sandbox = Sandbox::new();
    sandbox.file("out/f", "open");
    for (errno, reason) in DISABLED {
        let status = sandbox.path("status.json");
        let mut command = sandbox.command();
        command
            .args(["--unix-all", "--no-protect", "--status-file"])
            .arg(&status)
            .args(["--", "cat", "../out/f"]);
        kernel::without_landlock(&mut command, errno);
        let run = ran(&mut command);
        assert_eq!((run.code, run.stdout.as_str()), (0, "open"), "{run:?}");
        assert!(
            run.stderr.lines().any(|line| line.contains("files: not enforced") && line.contains(reason)),
            "{run:?}"
        );
        let status: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(status).unwrap()).unwrap();
        assert_eq!((status["landlock_abi"].as_u64(), status["state"].as_str()), (Some(0), Some("degraded")));
        for require in ["--require", ""] {
            let mut command = sandbox.command();
            if require.is_empty() {
                command.env("AGOR_SANDBOX_REQUIRE", "1");
            } else {
                command.arg(require);
            }
            command.args(["--unix-all", "--no-protect", "--", "touch", "ran"]);
            kernel::without_landlock(&mut command, errno);
            let run = ran(&mut command);
            assert_eq!(run.code, 125, "{run:?}");
            assert!(run.stderr.contains(reason), "{run:?}");
            assert!(!sandbox.path("work/ran").exists());
        }
    }
}

#[test]
fn other_layers_that_fail_are_named_too() {
    let sandbox = Sandbox::new();
    for (calls, layer) in [
        (&[libc::SYS_seccomp][..], "seccomp"),
        (&[libc::SYS_capset][..], "capabilities"),
        (&[libc::SYS_unshare][..], "mounts"),
        (&[libc::SYS_move_mount][..], "mounts"),
        (&[libc::SYS_landlock_add_rule][..], "files"),
        (&[libc::SYS_landlock_restrict_self][..], "files"),
    ] {
        // A plain user has no capabilities to drop.
        if layer == "capabilities" && !sandbox_is_root() {
            continue;
        }
        for require in [false, true] {
            let mut command = sandbox.command();
            if require {
                command.arg("--require");
            }
            command.args(["--", "echo", "ran"]);
            kernel::fail(&mut command, calls, libc::EPERM);
            let run = ran(&mut command);
            assert_eq!(run.code, if require { 125 } else { 0 }, "{layer}: {run:?}");
            assert!(run.stderr.contains(&format!("{layer}: ")), "{layer}: {run:?}");
            assert_eq!(run.stdout.is_empty(), require);
        }
    }
    let status = sandbox.path("status.json");
    let mut command = sandbox.command();
    command.args(["--net", "none", "--status-file"]).arg(&status).args(["--", "true"]);
    kernel::fail(&mut command, &[libc::SYS_landlock_restrict_self, libc::SYS_seccomp], libc::EPERM);
    assert_eq!(ran(&mut command).code, 0);
    let status: serde_json::Value = serde_json::from_slice(&std::fs::read(status).unwrap()).unwrap();
    let layers = status["layers"].as_array().unwrap();
    let tcp = layers.iter().find(|layer| layer["name"] == "tcp").unwrap();
    assert_eq!(tcp["state"], "absent", "{status}");
    assert!(!status["dropped"].to_string().contains("seccomp"), "{status}");
    // What must never be writable is not, or nothing runs.
    sandbox.file("rw/keep/f", "kept");
    let mut command = sandbox.command();
    command.args(["--rw", "../rw", "--ro", "../rw/keep", "--", "sh", "-c", "echo x >../rw/keep/f"]);
    kernel::fail(&mut command, &[libc::SYS_unshare], libc::EPERM);
    let run = ran(&mut command);
    assert_eq!(run.code, 125, "{run:?}");
    assert!(run.stderr.contains("cannot be kept from it"), "{run:?}");
}

#[test]
fn before_linux_5_12_each_mount_is_made_read_only_by_itself() {
    let namespaces = ["--user", "--map-root-user", "--mount"];
    let tried = std::process::Command::new("unshare").args(namespaces).arg("true").output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return common::skip("unshare makes no namespaces here");
    }
    let sandbox = Sandbox::new();
    for name in ["work/keep/f", "work/keep/below/f", "work/.git/hooks/pre-commit"] {
        sandbox.file(name, "kept");
    }
    sandbox.file("work/.git/HEAD", "ref: refs/heads/main\n");
    std::fs::create_dir(sandbox.path("work/.git/objects")).unwrap();
    std::fs::create_dir(sandbox.path("work/.git/refs")).unwrap();
    sandbox.file("work/.env", "secret");
    let inside = "for file in keep/f keep/below/f .git/hooks/pre-commit .git/hooks/new; do
            (echo x >$file) 2>/dev/null && echo written: $file
        done; cat .env; echo x >.git/free && cat keep/below/f";
    let outside =
        "mount -t tmpfs -o nosuid,nodev,noexec tmpfs keep/below && echo mounted >keep/below/f && exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command
        .args(namespaces)
        .args(["sh", "-c", outside, "sh"])
        .arg(env!("CARGO_BIN_EXE_agor-sandbox"))
        .args(["--rw", ".", "--ro", "keep", "--status-file", "../status.json", "--", "sh", "-c", inside])
        .env("HOME", sandbox.path("home"))
        .env("AGOR_DATA_DIR", sandbox.path("data"))
        .current_dir(sandbox.path("work"));
    kernel::fail(&mut command, &[libc::SYS_mount_setattr], libc::ENOSYS);
    let run = ran(&mut command);
    assert_eq!((run.code, run.stdout.as_str()), (0, "mounted\n"), "{run:?}");
    let status: serde_json::Value = serde_json::from_str(&sandbox.read("status.json")).unwrap();
    assert_eq!(status["layers"][0]["name"], "mounts");
    assert_eq!(status["layers"][0]["state"], "enforced", "{status}");
}

#[test]
fn no_stand_in_covers_a_socket_that_is_granted() {
    let socket = std::path::PathBuf::from(format!("/run/agor-sandbox-test-{}.sock", std::process::id()));
    let Ok(_listener) = std::os::unix::net::UnixListener::bind(&socket) else {
        return common::skip("/run may not be written");
    };
    let sandbox = Sandbox::new();
    let real = u32::try_from(common::landlock_abi()).unwrap();
    // From ABI 9 on Landlock keeps sockets apart, and /run is not emptied for it.
    let all = vec![OsString::from("--unix-all")];
    let listed = vec![OsString::from("--unix"), socket.clone().into()];
    for (abi, options) in [(None, &all), (None, &listed), (Some(9), &all), (Some(9), &listed)] {
        let mut command = sandbox.command();
        command
            .args(options)
            .arg("--status-file")
            .arg(sandbox.path("status.json"))
            .args(["--", "test", "-S"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = match abi {
            Some(abi) if real > 0 => kernel::with_abi(&mut command, abi, real).0,
            _ => command.output().unwrap(),
        };
        assert_eq!(output.status.code(), Some(0), "{abi:?} {options:?}: {output:?}");
        // What only the mounts would have to hold is no limit where Landlock holds it.
        let limits = sandbox.read("status.json").contains("sockets made by other programs after the start");
        assert_eq!(limits, abi.is_none() && real < 9 && options == &listed, "{abi:?} {options:?}");
    }
    std::fs::remove_file(&socket).unwrap();
}

fn sandbox_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn every_abi_is_used_in_full_and_what_it_lacks_is_said() {
    let real = u32::try_from(common::landlock_abi()).unwrap();
    if real == 0 {
        return common::skip("no Landlock here");
    }
    let features = [
        ("refer", 2),
        ("truncate", 3),
        ("tcp", 4),
        ("ioctl_dev", 5),
        ("scope_abstract_unix", 6),
        ("scope_signal", 6),
        ("log", 7),
        ("resolve_unix", 9),
        ("udp", 10),
    ];
    for abi in (1..=10).chain([99]) {
        let sandbox = Sandbox::new();
        sandbox.file("ro/f", "text");
        let status = sandbox.path("status.json");
        let mut command = sandbox.command();
        command
            .args(["--no-protect", "--connect-tcp", "443", "--ro", "../ro", "--status-file"])
            .arg(&status)
            .args(["--", "sh", "-c", "cat ../out/none; mkdir a b; echo x >a/f; mv a/f b/f"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (output, asked) = kernel::with_abi(&mut command, abi, real);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("Landlock: "), "ABI {abi}: {stderr}");
        let (fs, net, scoped) = kernel::known(abi);
        assert_eq!((asked.fs, asked.net, asked.scoped), (fs, net, scoped), "ABI {abi}: {stderr}");
        assert_eq!(asked.log_flags, if abi >= 7 { 2 } else { 0 }, "ABI {abi}");
        let status: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(status).unwrap()).unwrap();
        assert_eq!(status["landlock_abi"].as_u64(), Some(u64::from(abi)));
        let dropped: Vec<&str> = status["dropped"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dropped| dropped["feature"].as_str().unwrap())
            .collect();
        let expected: Vec<&str> =
            features.iter().filter(|(_, since)| abi < *since).map(|(name, _)| *name).collect();
        assert_eq!(dropped, expected, "ABI {abi}");
        let state = |name: &str| {
            let layers = status["layers"].as_array().unwrap();
            layers.iter().find(|layer| layer["name"] == name).unwrap()["state"].as_str().unwrap().to_owned()
        };
        assert_eq!(state("files"), if abi >= 5 { "enforced" } else { "degraded" }, "ABI {abi}");
        assert_eq!(state("tcp"), if abi >= 4 { "enforced" } else { "absent" }, "ABI {abi}");
        assert_eq!(state("scopes"), if abi >= 6 { "enforced" } else { "degraded" }, "ABI {abi}");
        // Without the right to refer, a rename into another directory is refused, whatever else is granted.
        if abi == 1 {
            assert!(stderr.contains("degraded") || stderr.contains("refer"), "{stderr}");
        }
    }
}

#[test]
fn sockets_that_nobody_names_are_not_said_to_be_hidden() {
    if !common::namespaces() {
        return;
    }
    if common::landlock_abi() >= 9 {
        return common::skip("Landlock knows of sockets here");
    }
    let sandbox = Sandbox::new();
    let without = |options: &str| {
        let program = env!("CARGO_BIN_EXE_agor-sandbox");
        let script = format!("mount -t tmpfs none /proc && exec {program} {options} -- true");
        let mut command = std::process::Command::new("unshare");
        command.args(["-Urm", "sh", "-c", &script]).env("HOME", sandbox.path("home"));
        ran(command.env("AGOR_DATA_DIR", sandbox.path("data")).current_dir(sandbox.path("work")))
    };
    let ran = without("");
    if ran.stderr.contains("unshare") || ran.stderr.contains("mount:") {
        return common::skip("no namespace to be without /proc in");
    }
    assert!(ran.code == 0 && ran.stderr.contains("/proc/net/unix cannot be read"), "{ran:?}");
    assert_eq!(without("--require").code, 125);
    assert_eq!(without("--require --unix-all").code, 0);
}

#[test]
fn what_cannot_be_written_needs_no_protection() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    let script = format!(
        "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" && exec {program} --require -- true"
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["-Urm", "sh", "-c", &script]).env("HOME", sandbox.path("home"));
    let ran = ran(command.env("AGOR_DATA_DIR", sandbox.path("data")).current_dir(sandbox.path("work")));
    if ran.stderr.contains("unshare") || ran.stderr.contains("mount:") {
        return common::skip("no namespace to mount in");
    }
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn explain_says_where_a_start_would_be_refused() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("work/a")).unwrap();
    // Of no user, who may make no namespace.
    let outside = |words: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.arg("-U").arg(env!("CARGO_BIN_EXE_agor-sandbox")).args(words);
        ran(command.env("HOME", sandbox.path("home")).current_dir(sandbox.path("work")))
    };
    let run = outside(&["--ro", "a", "--", "true"]);
    if !run.stderr.contains("cannot be kept from it") {
        return common::skip("no namespace without a user, or one that may mount");
    }
    assert_eq!(run.code, 125, "{run:?}");
    let explained = outside(&["explain", "--ro", "a"]);
    assert!(explained.stdout.contains("COMMAND is not run: "), "{explained:?}");
}
