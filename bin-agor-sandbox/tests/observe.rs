//! `--explain-denials` and `learn`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use common::Sandbox;

#[test]
fn denials_are_explained_with_the_option_that_helps() {
    let sandbox = Sandbox::new();
    sandbox.file("out/f", "x");
    sandbox.script("out/tool", "#!/bin/sh\necho tool\n");
    let ran = sandbox.sh(
        &["--explain-denials"],
        "cat ../out/f ../out/f; echo x >../out/new; ../out/tool; cat /nowhere; cat /etc/passwd >/dev/null; exit 7",
    );
    assert_eq!(ran.code, 7, "{ran:?}");
    let out = sandbox.path("out").canonicalize().unwrap();
    let out = out.display();
    for line in [
        format!("denied: read {out}/f (2 times): --ro {out}/f"),
        format!("denied: change {out}/new: --rw {out}"),
        format!("denied: execute {out}/tool: --rox {out}/tool"),
    ] {
        assert!(ran.stderr.contains(&line), "{line}\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("nowhere: --") && !ran.stderr.contains("passwd"), "{}", ran.stderr);
    // With these options it is allowed.
    let options = ["--explain-denials", "--rw", "../out", "--rox", "../out"];
    let ran = sandbox.sh(&options, "cat ../out/f; echo x >../out/new; ../out/tool");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "xtool\n"), "{ran:?}");
    assert_eq!(sandbox.sh(&["--explain-denials"], "kill -TERM $$").code, 143);
    assert_eq!(sandbox.run(["--explain-denials", "--", "no-such-program"]).code, 127);
}

#[test]
fn a_learned_profile_lets_the_same_run_pass() {
    let sandbox = Sandbox::new();
    for number in 0..6 {
        sandbox.file(format!("out/many/{number}"), "x");
    }
    sandbox.file("out/one", "1");
    sandbox.script("out/bin-tool", "#!/bin/sh\necho tool\n");
    sandbox.file("home/.ssh/id", "secret");
    let script = "cat ../out/many/* ../out/one && echo y >../out/written && ../out/bin-tool";
    assert_ne!(sandbox.sh(&[], script).code, 0);
    let profile = sandbox.path("learned.toml");
    let profile = profile.to_str().unwrap();
    let learned =
        sandbox.run(["learn", "--output", profile, "--", "sh", "-c", &format!("{script}; cat ~/.ssh/id")]);
    assert_ne!(learned.code, 0, "the secret was refused: {learned:?}");
    assert!(
        !learned.stdout.contains("secret") && learned.stderr.contains(".ssh/id was refused"),
        "{learned:?}"
    );
    let text = std::fs::read_to_string(profile).unwrap();
    assert!(text.contains("[sandbox.profile.sh-learned]") && !text.contains("\".ssh"), "{text}");
    std::fs::remove_file(sandbox.path("out/written")).unwrap();
    let ran = sandbox.run(["--config", profile, "--profile", "sh-learned", "--", "sh", "-c", script]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "xxxxxx1tool\n"), "{ran:?}\n{text}");
    assert_ne!(
        sandbox.run(["--config", profile, "--profile", "sh-learned", "--", "cat", "../home/.ssh/id"]).code,
        0
    );
}

#[test]
fn what_fails_without_a_right_is_no_denial() {
    let sandbox = Sandbox::new();
    sandbox.file("out/f", "x");
    sandbox.file("out/d/g", "x");
    std::os::unix::fs::symlink(sandbox.path("out/f"), sandbox.path("work/link")).unwrap();
    let script = "mkdir ../out/d; mkdir -p ../out/d \"$PWD/a/b\"; rm -f ../out/none; ln -s x ../out/f; rm link; \
                  echo said >/dev/stderr; echo piped | cat /dev/stdin /dev/fd/0 >/dev/stdout; set -C; echo >../out/f";
    let ran = sandbox.sh(&["--explain-denials"], script);
    assert!(ran.stderr.contains("said") && ran.stdout.contains("piped"), "{ran:?}");
    assert!(!ran.stderr.contains("denied: "), "{ran:?}");
    assert!(ran.stderr.contains("nothing was denied"), "{ran:?}");
    assert!(sandbox.path("work/a/b").is_dir() && sandbox.path("out/f").exists());
    // A link that leads nowhere yet is a name that would be made.
    std::os::unix::fs::symlink("made", sandbox.path("out/dangling")).unwrap();
    let ran = sandbox.sh(&["--explain-denials"], "echo >../out/dangling");
    assert!(ran.stderr.contains("/out/made: --rw "), "{ran:?}");
    // The same, where it is more than a name that is there.
    let ran = sandbox.sh(&["--explain-denials"], "mkdir ../out/new; rm ../out/f; mv ../out/d/g x");
    let out = sandbox.path("out").canonicalize().unwrap();
    for name in ["new", "f", "d/g"] {
        let line = format!("denied: change {}: --rw ", out.join(name).display());
        assert!(ran.stderr.contains(&line), "{line}\n{ran:?}");
    }
}

#[test]
fn a_learned_profile_never_grants_more_than_was_meant() {
    let sandbox = Sandbox::new();
    sandbox.file("home/.config/gh/hosts.yml", "token");
    for number in 0..6 {
        sandbox.file(format!("home/.config/app{number}"), "x");
    }
    sandbox.file("work/.env", "A=1");
    let odd = std::ffi::OsStr::from_bytes(b"out/bad\xff");
    sandbox.file(Path::new(odd), "x");
    sandbox.file("out/del\u{7f}", "x");
    let script = "mkdir -p \"$HOME/.config\"; cat ~/.config/app*; echo x >~/.new; cat .env \"../out/$(printf 'bad\\377')\" \"../out/$(printf 'del\\177')\"";
    let ran = sandbox.run(["learn", "--", "sh", "-c", script]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let profile: String =
        ran.stdout.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let table: toml::Table = ran.stdout.parse().unwrap();
    let paths = |key: &str| -> Vec<String> {
        let list = table["sandbox"]["profile"]["sh-learned"].get(key).and_then(|list| list.as_array());
        list.into_iter().flatten().map(|path| path.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(paths("read_write_paths"), [""; 0], "{profile}");
    let home = sandbox.path("home").canonicalize().unwrap();
    for granted in paths("read_only_paths") {
        assert!(!home.join(".config/gh/hosts.yml").starts_with(&granted), "{profile}");
    }
    assert_eq!(paths("read_only_paths").iter().filter(|path| path.ends_with("del\u{7f}")).count(), 1);
    for left_out in ["/home is not", ".env is hidden", "its name is not UTF-8"] {
        assert!(ran.stderr.contains(left_out) && ran.stdout.contains(left_out), "{left_out}: {ran:?}");
    }
}

#[test]
fn sockets_and_programs_without_a_name_are_learned() {
    if !common::has("/usr/bin/python3") {
        return common::skip("no python3");
    }
    let sandbox = Sandbox::new();
    common::executable::copy("/bin/true", sandbox.path("out/true"));
    std::fs::create_dir(sandbox.path("out/s")).unwrap();
    let script = "import os, socket\n\
        a = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); a.bind('../out/s/a')\n\
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '../out/s/a')\n\
        assert a.recv(1) == b'x'; os.unlink('../out/s/a')\n\
        os.execve(os.open('../out/true', os.O_RDONLY), ['true'], {})";
    assert_ne!(sandbox.python(&[], script).code, 0);
    let profile = sandbox.path("learned.toml");
    let profile = profile.to_str().unwrap();
    let ran = sandbox.run(["learn", "--output", profile, "--", "/usr/bin/python3", "-c", script]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = sandbox.python(&["--config", profile, "--profile", "python3-learned"], script);
    assert_eq!(ran.code, 0, "{ran:?}\n{}", std::fs::read_to_string(profile).unwrap());
}

#[test]
fn addresses_of_messages_are_seen() {
    if !common::has("/usr/bin/python3") {
        return common::skip("no python3");
    }
    let sandbox = Sandbox::new();
    let _server = std::os::unix::net::UnixDatagram::bind(sandbox.path("home/s")).unwrap();
    let home = sandbox.path("home").canonicalize().unwrap();
    let line = format!("connect to {0}: --unix {0}", home.join("s").display());
    for send in [
        "s.sendmsg([b'x'], [], 0, sys.argv[1])",
        // struct mmsghdr, the second of two.
        "import ctypes; a = struct.pack('<H', 1) + sys.argv[1].encode() + b'\\0'\n\
         b = ctypes.create_string_buffer(a); m = struct.pack('<QIxxxxQQQQixxxxIxxxx', ctypes.addressof(b), len(a), *[0] * 6)\n\
         n = struct.pack('<QIxxxxQQQQixxxxIxxxx', *[0] * 8)\n\
         ctypes.CDLL(None).sendmmsg(s.fileno(), n + m, 2, 0)",
    ] {
        let script = format!(
            "import socket, struct, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
             a, b = socket.socketpair(); a.sendmsg([b'own']); assert b.recv(3) == b'own'\n{send}"
        );
        let path = home.join("s");
        let words = ["--explain-denials", "--", "/usr/bin/python3", "-c", &script, path.to_str().unwrap()];
        let ran = sandbox.run(words);
        assert!(ran.stderr.contains(&line), "{ran:?}");
    }
}

#[test]
fn what_cannot_be_moved_or_seen_is_said() {
    if !common::namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    common::repository(&sandbox, "work");
    let ran = sandbox.sh(&["--explain-denials"], "mv .git away");
    assert!(ran.code != 0 && ran.stderr.contains("/.git: it holds protected paths"), "{ran:?}");
    let hooks = sandbox.path("work").canonicalize().unwrap().join(".git/hooks");
    let ran = sandbox.sh(&["--explain-denials"], "touch .git/hooks/new");
    assert!(ran.stderr.contains(&format!(": --rw {} lifts", hooks.display())), "{ran:?}");
    let ran = sandbox.sh(&["--explain-denials", "--net", "none"], "true");
    assert!(ran.stderr.contains("not seen: sockets"), "{ran:?}");
    let ran = sandbox.sh(&["--explain-denials", "--no-unix"], "true");
    assert!(ran.stderr.contains("not seen: sockets that --no-unix"), "{ran:?}");
}

#[test]
fn what_is_done_to_hidden_files_is_said_with_the_option_that_helps() {
    if !common::namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    common::repository(&sandbox, "work");
    sandbox.file("work/.env", "A=1");
    sandbox.file("work/.env.d/x", "A=1");
    let work = sandbox.path("work").canonicalize().unwrap();
    let work = work.display();
    let ran = sandbox.sh(&["--explain-denials"], "echo >>.env; rm .env; cat .env.d/x");
    for line in [
        format!("denied: write {work}/.env: --rw {work}/.env"),
        format!("denied: change {work}/.env: --rw {work}/.env"),
    ] {
        assert!(ran.stderr.contains(&line), "{line}\n{ran:?}");
    }
    let ran = sandbox.sh(&["--explain-denials"], "cat .env.d");
    assert!(ran.stderr.contains(&format!("read {work}/.env.d: --ro {work}/.env.d")), "{ran:?}");
    let script = "echo >>.env; rm .env; mv .git g; mv g .git";
    let ran = sandbox.run(["learn", "--", "sh", "-c", script]);
    assert!(ran.stderr.contains(".env is hidden, was written to"), "{ran:?}");
    assert!(ran.stderr.contains(".git holds protected paths, was changed"), "{ran:?}");
    assert!(!ran.stdout.contains("read_write_paths"), "{ran:?}");
    sandbox.file("work/.env", "A=1");
    let ran = sandbox.sh(&["--rw", ".env"], "echo >>.env; rm .env");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn what_file_permissions_refuse_is_no_denial_for_root_either() {
    if !rustix::process::geteuid().is_root() {
        return common::skip("not root");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    sandbox.file("out/theirs/f", "x");
    for name in ["out/theirs/f", "out/theirs"] {
        std::fs::set_permissions(sandbox.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(sandbox.path(name), Some(65534), None).unwrap();
    }
    let script = "echo >../out/theirs/new; echo >>../out/theirs/f";
    let ran = sandbox.sh(&["--explain-denials"], script);
    assert!(ran.stderr.contains("nothing was denied"), "{ran:?}");
    let profile = sandbox.path("learned.toml");
    let ran = sandbox.run(["learn", "--output", profile.to_str().unwrap(), "--", "sh", "-c", script]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(!std::fs::read_to_string(profile).unwrap().contains("paths"));
}

#[test]
fn datagrams_are_not_learned_as_tcp() {
    if !common::has("/usr/bin/python3") {
        return common::skip("no python3");
    }
    let sandbox = Sandbox::new();
    let script = "import socket, threading\n\
        def look():\n \
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); s.connect(('127.0.0.1', 53))\n \
         socket.socket().connect_ex(('127.0.0.1', 9))\n\
        t = threading.Thread(target=look); t.start(); t.join()";
    let ran = sandbox.run(["learn", "--net", "none", "--", "/usr/bin/python3", "-c", script]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("connect_tcp = [9]") && !ran.stdout.contains("bind_tcp"), "{ran:?}");
    assert!(ran.stderr.contains("UDP was used and is not in the profile"), "{ran:?}");
}

#[test]
fn what_is_made_and_run_is_learned_as_a_directory() {
    let sandbox = Sandbox::new();
    sandbox.file("out/x", "x");
    let script = "cp /bin/echo ../out/e && ../out/e made && rm ../out/e";
    let profile = sandbox.path("learned.toml");
    let profile = profile.to_str().unwrap();
    let ran = sandbox.run(["learn", "--output", profile, "--", "sh", "-c", script]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = sandbox.sh(&["--config", profile, "--profile", "sh-learned", "--require"], script);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "made\n"), "{ran:?}");
}

#[test]
fn what_a_script_is_run_by_is_seen() {
    let sandbox = Sandbox::new();
    common::executable::copy("/bin/sh", sandbox.path("out/sh"));
    let out = sandbox.path("out").canonicalize().unwrap();
    let out = out.display();
    sandbox.script("work/s", &format!("#!{out}/sh\necho ran\n"));
    let ran = sandbox.sh(&["--explain-denials"], "./s");
    assert!(ran.stderr.contains(&format!("denied: execute {out}/sh: --rox {out}/sh")), "{ran:?}");
    let profile = sandbox.path("learned.toml");
    let profile = profile.to_str().unwrap();
    assert_eq!(sandbox.run(["learn", "--output", profile, "--", "./s"]).code, 0);
    let ran = sandbox.run(["--config", profile, "--profile", "s-learned", "--", "./s"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "ran\n"), "{ran:?}");
}
