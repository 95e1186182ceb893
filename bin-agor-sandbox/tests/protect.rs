//! Protected and hidden paths: the private mount namespace.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Sandbox, git, gone, has, namespaces, ran, repository, skip, soon};

#[test]
fn git_works_and_its_hooks_and_configuration_stay() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work");
    let config = sandbox.read("work/.git/config");
    for attack in [
        "echo x >>.git/config",
        "git config core.fsmonitor evil",
        "echo x >.git/hooks/pre-commit",
        "mv .git/hooks .git/h",
        "mv .git away",
        "cp -r .git copy && rm -rf .git && mv copy .git",
        "ln -sfn /tmp .git/hooks",
        "mv .git/config .git/c",
        "echo ../evil >.git/commondir",
        "mkdir evil && mv -T evil .git",
    ] {
        let ran = sandbox.sh(&[], attack);
        assert_ne!(ran.code, 0, "{attack}: {ran:?}");
        assert_eq!(sandbox.read("work/.git/config"), config, "{attack}");
        assert!(!sandbox.path("work/.git/hooks/pre-commit").exists(), "{attack}");
        let _ = std::fs::remove_dir_all(sandbox.path("work/evil"));
        let _ = std::fs::remove_dir_all(sandbox.path("work/copy"));
    }
    // The attack with cp and rm took the objects with it: a fresh one for what must work.
    std::fs::remove_dir_all(sandbox.path("work/.git")).unwrap();
    repository(&sandbox, "work");
    let ran = sandbox.sh(
        &["--require"],
        "set -e; git status --short; echo 2 >>tracked; git add -A; git commit -qm second; git log --oneline | wc -l; \
         git worktree add -q ../work/tree; git branch other; git stash list",
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "2\n", "{ran:?}");
    let listed = sandbox.sh(&[], "git ls-files");
    assert_eq!(listed.stdout, "tracked\n", "no stand-in was added");
    assert!(gone(&sandbox.path("work/.git/commondir")));
}

#[test]
fn names_that_do_not_exist_cannot_be_made_and_nothing_is_left() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let names = [".mcp.json", ".claude/settings.json", ".claude/settings.local.json", ".codex/config.toml"];
    // Where codex's user trusts a project, its settings would be loaded.
    let trusted = format!("[projects.{:?}]\ntrust_level = 'trusted'\n", sandbox.path("work"));
    sandbox.file("home/.codex/config.toml", &trusted);
    for name in names {
        for attack in [
            "echo x >NAME",
            "rm -rf NAME; echo x >NAME",
            "echo x >t; mv -fT t NAME",
            "ln -sfT t NAME",
            "mkdir NAME/x",
        ] {
            let ran = sandbox.sh(&[], &attack.replace("NAME", name));
            assert_ne!(ran.code, 0, "{attack} {name}: {ran:?}");
        }
        assert_ne!(sandbox.sh(&[], "mv .claude x").code, 0);
    }
    let _ = std::fs::remove_file(sandbox.path("work/t"));
    for name in [".claude", ".codex", ".mcp.json"] {
        assert!(gone(&sandbox.path("work").join(name)), "{name}");
    }
    // Other files beside them may be made, and then stay.
    let ran = sandbox.sh(&[], "mkdir .claude/agents && echo x >.claude/agents/a");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(gone(&sandbox.path("work/.claude/settings.json")));
    assert_eq!(sandbox.read("work/.claude/agents/a"), "x\n");
    std::fs::remove_dir_all(sandbox.path("work/.claude")).unwrap();

    // Killed, with a child that lives on: the names stay covered as long as it does.
    let mut command = sandbox.command();
    command.args(["--", "sh", "-c", "sleep 1000 & echo $!; wait"]).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(sandbox.path("work/.mcp.json").exists(), "still in use");
    assert!(Command::new("kill").args(["-9", line.trim()]).status().unwrap().success());
    assert!(gone(&sandbox.path("work/.mcp.json")) && gone(&sandbox.path("work/.claude")));
}

#[test]
fn claude_finds_settings_that_say_nothing_and_git_finds_none() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work");
    // A directory in their place is an error that claude stops at.
    let script =
        "cat .claude/settings.json .claude/settings.local.json && git add -A && git status --porcelain; ";
    assert_eq!(sandbox.sh(&[], script).stdout, "{}\n{}\n");
    assert!(gone(&sandbox.path("work/.claude")));

    // The same for git outside, also when the first of two sandboxes has ended.
    let mut held: Vec<_> = (0..2)
        .map(|_| {
            let mut command = sandbox.command();
            command.args(["--", "sh", "-c", "echo up; read line"]);
            let mut child = command
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            std::io::BufRead::read_line(
                &mut std::io::BufReader::new(child.stdout.take().unwrap()),
                &mut line,
            )
            .unwrap();
            child
        })
        .collect();
    while let Some(mut child) = held.pop() {
        let mut outside = Command::new("git");
        let status =
            outside.arg("-C").arg(sandbox.path("work")).args(["status", "--porcelain"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&status.stdout), "", "{status:?}");
        assert_eq!(sandbox.read("work/.claude/settings.json"), "{}\n");
        drop(child.stdin.take());
        child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(gone(&sandbox.path("work/.claude")));
}

#[test]
fn where_git_could_see_it_a_directory_stands_in() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work");
    sandbox.file("work/.claude/.gitignore", "x\n/settings.local.json\n");
    let ran = sandbox.sh(
        &[],
        "git add -A && git commit -qm ignore; cat .claude/settings.local.json; ls -d .claude/settings.json/; git status --porcelain",
    );
    assert_eq!(ran.stdout, "{}\n.claude/settings.json/\n", "{ran:?}");
    assert_eq!(sandbox.read("work/.claude/.gitignore"), "x\n/settings.local.json\n");
    // A pipe that COMMAND left in its place is in nobody's way.
    std::fs::remove_file(sandbox.path("work/.claude/.gitignore")).unwrap();
    let pipe = Command::new("mkfifo").arg(sandbox.path("work/.claude/.gitignore")).status();
    assert!(pipe.unwrap().success());
    let ran = sandbox.sh(&[], "ls -d .claude/settings.json/");
    assert_eq!(ran.stdout, ".claude/settings.json/\n", "{ran:?}");
    std::fs::remove_file(sandbox.path("work/.claude/.gitignore")).unwrap();
    // In the project itself, .gitignore is COMMAND's to make.
    let ran = sandbox.sh(&["--protect", "settings.json"], "echo x >.gitignore && ls -d settings.json/");
    assert_eq!(ran.stdout, "settings.json/\n", "{ran:?}");
    assert!(gone(&sandbox.path("work/settings.json")));
}

#[test]
fn codex_finds_a_configuration_that_says_nothing() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("home/.codex")).unwrap();
    let file = sandbox.path("home/.codex/config.toml");
    // A directory in its place ends codex.
    let script = "grep -v '^#' ~/.codex/config.toml; test -f ~/.codex/config.toml && echo file; \
                  echo x >~/.codex/session && echo written; echo x >~/.codex/config.toml";
    let ran = sandbox.sh(&["--profile", "codex"], script);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, "file\nwritten\n", "{ran:?}");
    assert!(gone(&file));
}

#[test]
fn a_hundred_at_once_leave_nothing() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let children: Vec<_> = (0..100)
        .map(|_| {
            let mut command = sandbox.command();
            command.args(["--require", "--", "sh", "-c", "! echo x 2>/dev/null >.mcp.json"]);
            command.stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(gone(&sandbox.path("work/.mcp.json")) && gone(&sandbox.path("work/.claude")));
    for dir in ["work", "tmp"] {
        let left = || std::fs::read_dir(sandbox.path(dir)).unwrap().count();
        assert!(soon(|| left() == 0), "{} left in {dir}", left());
    }
}

#[test]
fn read_only_below_read_write_holds() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.file("rw/keep/f", "kept");
    let options = ["--rw", "../rw", "--ro", "../rw/keep"];
    for attack in ["echo x >../rw/keep/f", "mv ../rw/keep ../rw/k", "rm -r ../rw/keep", "touch ../rw/keep/g"]
    {
        assert_ne!(sandbox.sh(&options, attack).code, 0, "{attack}");
        assert_eq!(sandbox.read("rw/keep/f"), "kept", "{attack}");
    }
    assert_eq!(sandbox.sh(&options, "cat ../rw/keep/f; touch ../rw/new").stdout, "kept");
    // An explicit --ro on the project itself makes it read-only.
    assert_ne!(sandbox.sh(&["--ro", "."], "touch x").code, 0);
}

#[test]
fn worktrees_and_subdirectories() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "main");
    git(&sandbox, "main", &["worktree", "add", "-q", "../work/tree"]);
    let run = |dir: &str, script: &str| {
        ran(sandbox.command().current_dir(sandbox.path(dir)).args(["--", "sh", "-c", script]))
    };
    let ran = run("work/tree", "set -e; echo 3 >>tracked; git commit -qam third; git status --short");
    assert_eq!(ran.code, 0, "{ran:?}");
    for attack in [
        "echo x >>../../main/.git/config",
        "echo x >../../main/.git/hooks/pre-commit",
        "echo gitdir: /tmp >.git",
        "rm .git",
    ] {
        assert_ne!(run("work/tree", attack).code, 0, "{attack}");
    }
    // What says which configuration holds in a working tree elsewhere is read by git outside.
    for attack in [
        "echo /tmp >.git/worktrees/tree/commondir",
        "echo /tmp >.git/worktrees/tree/gitdir",
        "mv .git/worktrees/tree .git/worktrees/other",
    ] {
        assert_ne!(run("main", attack).code, 0, "{attack}");
    }
    git(&sandbox, "main", &["config", "extensions.worktreeConfig", "true"]);
    for attack in ["echo x >.git/worktrees/tree/config.worktree", "echo x >.git/config.worktree"] {
        assert_ne!(run("main", attack).code, 0, "{attack}");
    }
    let ran = run(
        "main",
        "set -e; git status --short; git worktree add -q ../work/more; git -C ../work/more status --short",
    );
    assert_ne!(ran.code, 0, "outside of the grant: {ran:?}");
    assert_eq!(run("main", "git status --short; git worktree list").code, 0);
    assert!(gone(&sandbox.path("main/.git/config.worktree")));
    git(&sandbox, "main", &["config", "--unset", "extensions.worktreeConfig"]);
    std::fs::create_dir(sandbox.path("main/sub")).unwrap();
    let ran = run(
        "main/sub",
        "set -e; echo x >f; git add f; git commit -qm sub; git status --short; cat ../tracked",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "1\n"), "{ran:?}");
    for attack in
        ["git init -q .", "mkdir .git", "echo x >.git", "echo x >>../tracked", "echo x >>../.git/config"]
    {
        let ran = run("main/sub", attack);
        assert_ne!(ran.code, 0, "{attack}: {ran:?}");
    }
    assert!(gone(&sandbox.path("main/sub/.git")));
    // Beside another sandbox there, whose stand-in is no repository.
    let mut command = sandbox.command();
    command.current_dir(sandbox.path("main/sub")).args(["--", "sh", "-c", "echo up; read line"]);
    let pipes = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut first = pipes.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(first.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let ran = run("main/sub", "set -e; echo y >f; git commit -qam beside; git status --short");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert_ne!(run("main/sub", "echo x >>../.git/config").code, 0);
    drop(first.stdin.take());
    first.wait().unwrap();
    assert!(gone(&sandbox.path("main/sub/.git")));
    // Where there is no repository one can be made.
    let ran = run(
        "work",
        "mkdir new && cd new && git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x",
    );
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn secrets_cannot_be_read() {
    let sandbox = Sandbox::new();
    for secret in [
        ".ssh/id",
        ".aws/credentials",
        ".gnupg/x",
        ".netrc",
        ".bash_history",
        ".git-credentials",
        ".config/git/credentials",
        ".claude/x",
        ".sshfoo/x",
    ] {
        sandbox.file(Path::new("home").join(secret), "secret");
        let ran = sandbox.sh(&[], &format!("cat ~/{secret}"));
        assert!(ran.code == 1 && !ran.stdout.contains("secret"), "{secret}: {ran:?}");
    }
    assert_eq!(sandbox.sh(&["--ro", "~/.sshfoo"], "cat ~/.sshfoo/x").stdout, "secret");
    assert_ne!(sandbox.sh(&["--ro", "~/.sshfoo"], "cat ~/.ssh/id").code, 0);
    if !namespaces() {
        return;
    }
    sandbox.file("work/.env", "KEY=1");
    sandbox.file("work/.env.example", "KEY=");
    let ran = sandbox.sh(&[], "cat .env.example; cat .env");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "KEY="), "{ran:?}");
    assert_ne!(sandbox.sh(&[], "chmod 600 .env; cat .env | grep KEY").code, 0);
    assert_eq!(sandbox.sh(&["--ro", ".env"], "cat .env").stdout, "KEY=1");
    assert_eq!(sandbox.read("work/.env"), "KEY=1");
    // Nor those of the repository around the project.
    repository(&sandbox, "main");
    sandbox.file("main/.env", "KEY=2");
    std::fs::create_dir(sandbox.path("main/sub")).unwrap();
    let mut command = sandbox.command();
    command.current_dir(sandbox.path("main/sub")).args(["--", "sh", "-c", "cat ../tracked; cat ../.env"]);
    let ran = common::ran(&mut command);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "1\n"), "{ran:?}");
}

#[test]
fn a_project_in_shared_memory_is_one() {
    if !namespaces() || rustix::fs::access("/dev/shm", rustix::fs::Access::WRITE_OK).is_err() {
        return;
    }
    let sandbox = Sandbox::new();
    let project = tempfile::tempdir_in("/dev/shm").unwrap();
    let run =
        |script: &str| ran(sandbox.command().current_dir(project.path()).args(["--", "sh", "-c", script]));
    assert_ne!(run("echo x >.mcp.json").code, 0);
    assert_ne!(run("mv $PWD ../other").code, 0);
    assert_eq!(run("echo x >f").code, 0);
    assert!(gone(&project.path().join(".mcp.json")));
}

/// What can be had only without root's rights, in a user of this test's own where root runs it.
fn as_plain_user(sandbox: &Sandbox, command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    if rustix::process::geteuid().is_root() {
        // A stand-in that goes just now is in its way.
        let chown = || Command::new("chown").arg("-R").arg("64897:64897").arg(sandbox.path("")).output();
        assert!(soon(|| chown().unwrap().status.success()), "{:?}", chown());
        command.uid(64897).gid(64897);
    }
}

#[test]
fn what_its_owner_can_open_again_is_kept_or_said() {
    use std::os::unix::fs::PermissionsExt as _;
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let mode = |path: &str, mode| {
        std::fs::set_permissions(sandbox.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    sandbox.file("work/.env", "KEY=1");
    mode("work/.env", 0);
    let mut command = sandbox.command();
    as_plain_user(&sandbox, command.args(["--", "sh", "-c", "chmod 600 .env; cat .env"]));
    let ran = ran(&mut command);
    assert!(ran.code != 0 && !ran.stdout.contains("KEY"), "{ran:?}");
    assert!(gone(&sandbox.path("work/.claude")));
    std::fs::create_dir(sandbox.path("work/.claude")).unwrap();
    mode("work/.claude", 0o555);
    let mut command = sandbox.command();
    as_plain_user(&sandbox, command.args(["--require", "--", "sh", "-c", "chmod 755 .claude"]));
    let ran = common::ran(&mut command);
    assert!(ran.code == 125 && ran.stderr.contains("settings.json"), "{ran:?}");
}

#[test]
fn a_helper_that_cannot_watch_looks() {
    if !namespaces() {
        return;
    }
    if !rustix::process::geteuid().is_root() || !has("/usr/bin/python3") {
        return skip("only root can use up the watches of a user of its own; or no python3");
    }
    let sandbox = Sandbox::new();
    let taker = "import ctypes, os, resource\nhard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\nlibc = ctypes.CDLL(None)\n\
        while libc.inotify_init1(0) >= 0: pass\nprint('taken', flush=True)\nos.read(0, 1)";
    let mut taker = {
        let mut command = Command::new("/usr/bin/python3");
        as_plain_user(&sandbox, command.args(["-c", taker]));
        let pipes = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        pipes.spawn().unwrap()
    };
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(taker.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let mut command = sandbox.command();
    // One that others cannot look into, and that lives longer than COMMAND.
    let late = "import ctypes, os, time\nif os.fork(): os._exit(0)\nctypes.CDLL(None).prctl(4, 0)\n\
        os.close(1); os.close(2); time.sleep(2)\ntry: os.rmdir('.mcp.json')\nexcept OSError as e: open('refused', 'w')\n\
        open('.mcp.json', 'w')";
    as_plain_user(&sandbox, command.args(["--require", "--", "/usr/bin/python3", "-c", late]));
    let ran = ran(&mut command);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(gone(&sandbox.path("work/.mcp.json")), "and nothing else is there");
    assert!(sandbox.path("work/refused").exists());
    drop(taker.stdin.take());
    taker.wait().unwrap();
}

#[test]
fn a_protected_file_with_another_name_is_found() {
    let sandbox = Sandbox::new();
    sandbox.file("work/.bashrc", "");
    std::fs::hard_link(sandbox.path("work/.bashrc"), sandbox.path("work/other")).unwrap();
    let ran = sandbox.sh(&[], "true");
    assert!(ran.stderr.contains(".bashrc has another name"), "{ran:?}");
}

#[test]
fn terminals_of_others_are_out_of_reach() {
    if !namespaces() {
        return;
    }
    if !has("script") || !has("/usr/bin/python3") {
        return skip("no script or no python3");
    }
    let sandbox = Sandbox::new();
    // Another terminal of this user, kept open outside.
    let mut other = Command::new("/usr/bin/python3")
        .args(["-c", "import os, pty\nm, s = pty.openpty()\nprint(os.ttyname(s), flush=True)\nos.read(0, 1)"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(other.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let ran = sandbox.sh(&[], &format!("echo x >{}", line.trim()));
    assert_ne!(ran.code, 0, "{ran:?}");
    // Its own works, by name too.
    let program = env!("CARGO_BIN_EXE_agor-sandbox");
    let inside = format!("{program} -- sh -c 'test -t 0 && echo own >$(tty) && echo done'");
    let mut command = Command::new("script");
    command
        .args(["-qec", &inside, "/dev/null"])
        .env("HOME", sandbox.path("home"))
        .current_dir(sandbox.path("work"));
    let ran = common::ran(command.stdin(std::process::Stdio::null()));
    assert!(ran.stdout.contains("own") && ran.stdout.contains("done"), "{ran:?}");
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn sockets_of_others_are_out_of_reach() {
    if !namespaces() {
        return;
    }
    if !has("/usr/bin/python3") {
        return skip("no python3");
    }
    let sandbox = Sandbox::new();
    let outside = sandbox.path("tmp/agent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&outside).unwrap();
    let connect =
        format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", outside.to_str().unwrap());
    assert_ne!(sandbox.python(&[], &connect).code, 0);
    let allowed = sandbox.python(&["--unix", outside.to_str().unwrap()], &connect);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert_eq!(sandbox.python(&["--unix-all"], &connect).code, 0);
    assert_ne!(sandbox.python(&["--no-unix"], &connect).code, 0);
    // Nor a server of the agent's own kind, which would run outside what it is told inside.
    std::fs::create_dir(sandbox.path("home/.codex")).unwrap();
    let server = sandbox.path("home/.codex/server.sock");
    let _server = std::os::unix::net::UnixListener::bind(&server).unwrap();
    let ask = format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", server.to_str().unwrap());
    assert_ne!(sandbox.python(&["--profile", "codex"], &ask).code, 0);
    let allowed = sandbox.python(&["--profile", "codex", "--unix", server.to_str().unwrap()], &ask);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    // Under another name than it was bound with, and where nothing is granted.
    let moved = sandbox.path("home/bound");
    let _moved = std::os::unix::net::UnixListener::bind(&moved).unwrap();
    std::fs::rename(&moved, sandbox.path("home/moved")).unwrap();
    let to = sandbox.path("home/moved");
    let ran = sandbox.python(
        &[],
        &format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", to.to_str().unwrap()),
    );
    assert!(ran.stderr.contains("Permission"), "{ran:?}");
    // Its own work, also between its processes.
    let own = "import socket, os\ns = socket.socket(socket.AF_UNIX); s.bind('own'); s.listen()\n\
        if os.fork() == 0:\n c = socket.socket(socket.AF_UNIX); c.connect('own'); c.send(b'x'); os._exit(0)\n\
        print(s.accept()[0].recv(1))";
    assert_eq!(sandbox.python(&[], own).stdout, "b'x'\n");
    // Abstract names of processes outside.
    let name = format!("agor-sandbox-test-{}", std::process::id());
    let address =
        <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name)
            .unwrap();
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')");
    if common::landlock_abi() >= 6 {
        assert_ne!(sandbox.python(&[], &connect).code, 0);
    } else {
        skip("Landlock below ABI 6 does not know abstract sockets");
    }
    assert_eq!(sandbox.python(&["--unix-all"], &connect).code, 0);
}

#[test]
fn repositories_below_the_project_are_protected_too() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work/child");
    repository(&sandbox, "work/vendor/deep");
    std::fs::write(sandbox.path("work/.gitmodules"), "[submodule \"d\"]\n\tpath = vendor/deep\n").unwrap();
    for dir in ["child", "vendor/deep"] {
        for attack in [
            "echo x >>.git/config",
            "echo x >.git/hooks/pre-commit",
            "mv .git away",
            "echo x >.git/commondir",
        ] {
            let ran = sandbox.sh(&[], &format!("cd {dir} && {attack}"));
            assert_ne!(ran.code, 0, "{dir}: {attack}: {ran:?}");
        }
        let ran = sandbox.sh(&[], &format!("cd {dir} && echo 2 >>tracked && git commit -qam second"));
        assert_eq!(ran.code, 0, "{dir}: {ran:?}");
        assert!(gone(&sandbox.path(format!("work/{dir}/.git/commondir"))));
    }
}

/// git fails on an empty commondir, claude on empty settings: no start that is killed where they would be filled
/// leaves one.
#[test]
fn a_start_that_may_write_nothing_leaves_no_half_of_a_file() {
    if !namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    repository(&sandbox, "work");
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -f 0; exec \"$0\" -- true", env!("CARGO_BIN_EXE_agor-sandbox")])
        .envs(sandbox.command().get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(sandbox.path("work"));
    let killed = ran(&mut command);
    assert_ne!(killed.code, 0, "{killed:?}");
    let find = || ran(Command::new("find").arg(sandbox.path("work")).args(["-type", "f", "-empty"]));
    let mut empty = find();
    // It fails on what goes while it looks.
    soon(|| {
        empty.code == 0 || {
            empty = find();
            false
        }
    });
    assert_eq!((empty.code, empty.stdout.as_str()), (0, ""), "{empty:?}");
    git(&sandbox, "work", &["status"]);
}
