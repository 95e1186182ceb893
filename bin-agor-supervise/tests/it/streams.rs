//! Streams: byte for byte, with back-pressure, and no spliced lines.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::support::{World, text, until};

/// What must come through unchanged: NUL, CRLF, invalid UTF-8, a long line, no newline at the end.
fn awkward() -> Vec<u8> {
    let mut bytes = b"a\0b\r\n\xff\xfe\n\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 1 << 20));
    bytes.extend(b"\nno newline");
    bytes
}

#[test]
fn stdin_and_stdout_are_byte_exact() {
    let world = World::new();
    for flags in [&[][..], &["--observe"], &["--log-dir", "logs", "--name", "l"]] {
        let mut args = flags.to_vec();
        args.extend(["--", "cat"]);
        let mut supervisor = world.start(&args);
        let mut stdin = supervisor.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&awkward()).unwrap());
        let mut out = Vec::new();
        supervisor.stdout.as_mut().unwrap().read_to_end(&mut out).unwrap();
        writer.join().unwrap();
        let expected = awkward();
        assert!(out == expected, "{flags:?}: {} bytes of {}", out.len(), expected.len());
        assert_eq!(supervisor.wait().code(), Some(0));
    }
    assert!(std::fs::read(world.path("logs/l.out.log")).unwrap() == awkward());
}

#[test]
fn a_dead_incarnations_line_is_not_spliced_into_the_next() {
    let world = World::new();
    let script = "[ $AGOR_INCARNATION = 1 ] && { printf '{\"half\":'; exit 1; }; echo '{\"whole\":1}'";
    let output = world.run(&["--observe", "--backoff-base", "0", "--", "sh", "-c", script]);
    assert_eq!(text(&output.stdout), "{\"half\":\n{\"whole\":1}\n");
    // The same, stdout being a file that is open for append.
    let path = world.path("out");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut command = world.command(&["--observe", "--backoff-base", "0", "--", "sh", "-c", script]);
    assert!(command.stdout(file).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "{\"half\":\n{\"whole\":1}\n");
}

#[test]
fn the_pipeline_goes_on_across_a_restart() {
    let world = World::new();
    let script = "while read -r x; do echo $AGOR_INCARNATION $x; [ $x = die ] && kill -9 $$; done";
    for observe in [&[][..], &["--observe"]] {
        let mut args = vec!["--name", "p", "--backoff-base", "0.01"];
        args.extend(observe);
        args.extend(["--", "sh", "-c", script]);
        let mut supervisor = world.start(&args);
        supervisor.write("a\n");
        assert_eq!(supervisor.line(), "1 a");
        supervisor.write("die\n");
        assert_eq!(supervisor.line(), "1 die");
        supervisor.write("b\n");
        assert_eq!(supervisor.line(), "2 b");
        let (status, out, _) = supervisor.finish();
        assert_eq!((status.code(), out.as_str()), (Some(0), ""), "stdin's end is the command's");
    }
}

#[test]
fn a_slow_reader_loses_nothing() {
    let world = World::new();
    let total = 1_000_000;
    let script = format!("head -c {total} /dev/zero; exit 0");
    for observe in [&[][..], &["--observe"]] {
        let mut args = observe.to_vec();
        args.extend(["--", "sh", "-c", &script]);
        let mut supervisor = world.start(&args);
        let mut count = 0;
        let mut buffer = [0; 4096];
        loop {
            let n = supervisor.stdout.as_mut().unwrap().read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            count += n;
            if count < 100_000 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(count, total);
        assert_eq!(supervisor.wait().code(), Some(0));
    }
}

#[test]
fn a_reader_that_is_gone_is_a_clean_end() {
    let world = World::new();
    for observe in [&[][..], &["--observe"]] {
        let mut args = vec!["--name", "c", "--backoff-base", "0"];
        args.extend(observe);
        args.extend(["--", "sh", "-c", "read x; while echo x; do :; done; exit 1"]);
        let mut supervisor = world.start(&args);
        drop(supervisor.stdout.take());
        supervisor.write("go\n");
        assert_eq!(supervisor.wait().code(), Some(0));
        let status = world.status("c");
        assert_eq!((&status["health"], status["incarnation"].as_i64()), (&"stopped".into(), Some(1)));
        assert_eq!(status["reason"], "output closed");
    }
}

/// A full disk below our own output is no reason for the command to die.
#[test]
fn an_output_that_cannot_be_written_ends_nothing() {
    let world = World::new();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let args = ["--restart", "never", "--stderr", "capture", "--", "sh", "-c"];
    let mut command = world.command(&args);
    let output = command.args(["for i in 1 2 3; do echo $i >&2 || exit 9; done; echo done"]).stderr(full());
    let output = output.output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "done\n"));
    let mut command = world.command(&["--observe"]);
    command.args(args).args(["for i in 1 2 3; do echo $i || exit 9; sleep 0.01; done; echo done >&2"]);
    let output = command.stdout(full()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("write to stdout: No space left on device").count(), 1, "{said}");
    assert!(said.contains("done\n"), "{said}");
}

#[test]
fn a_flood_on_stderr_is_passed_on_and_its_end_is_kept() {
    let world = World::new();
    let script = "head -c 50000000 /dev/zero | tr '\\0' 'e' | fold >&2; echo the very end password=hunter2 >&2; exit 1";
    let mut supervisor = world.start(&["--name", "e", "--restart", "never", "--", "sh", "-c", script]);
    let mut err = supervisor.stderr.take().unwrap();
    let mut count = 0;
    let mut buffer = vec![0; 1 << 16];
    let mut peak = 0;
    loop {
        let n = err.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        count += n;
        peak = peak.max(rss_kib(supervisor.pid()));
    }
    assert!(count > 50_000_000, "{count}");
    assert!(peak < 20_000, "{peak} KiB");
    assert_eq!(supervisor.wait().code(), Some(1));
    let error = world.status("e")["last_error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("exit 1: eeee") && error.ends_with("the very end password=***"), "{error}");
    assert!(error.lines().count() <= 10);
}

fn rss_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[test]
fn secrets_are_masked_everywhere() {
    let world = World::new();
    let output = world
        .command(&[
            "--name",
            "m",
            "--restart",
            "never",
            "--",
            "sh",
            "-c",
            "echo token is $MY_TOKEN >&2; exit 1",
            "--api-key=topsecretvalue",
        ])
        .env("MY_TOKEN", "abcdef123456")
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("abcdef123456"), "the stream itself is untouched");
    let said = text(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.starts_with("agor-supervise")).collect();
    assert!(ours.iter().all(|line| !line.contains("abcdef123456")), "{ours:?}");
    let json = world.status("m").to_string() + &world.history("m")[0].to_string();
    assert!(!json.contains("abcdef123456") && !json.contains("topsecretvalue"), "{json}");
    for file in ["data/sessions.db", "data/sessions.db-wal", "data/run/m.state"] {
        let bytes = std::fs::read(world.path(file)).unwrap_or_default();
        assert!(!text(&bytes).contains("abcdef123456") && !text(&bytes).contains("topsecretvalue"), "{file}");
    }
}

#[test]
fn logs_rotate_and_a_full_disk_does_not_hold_the_stream_up() {
    let world = World::new();
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; echo err $i >&2; i=$((i+1)); done";
    let output = world.run(&[
        "--name",
        "l",
        "--log-dir",
        "logs",
        "--log-max-size",
        "1000",
        "--log-keep",
        "2",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(text(&output.stdout).lines().count(), 300);
    assert_eq!(text(&output.stderr).lines().count(), 300);
    let mut names: Vec<String> = std::fs::read_dir(world.path("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["l.err.log", "l.err.log.1", "l.err.log.2", "l.out.log", "l.out.log.1", "l.out.log.2"]);
    let newest = [
        text(&std::fs::read(world.path("logs/l.out.log.1")).unwrap()),
        text(&std::fs::read(world.path("logs/l.out.log")).unwrap()),
    ];
    assert!(newest.concat().ends_with("line 299\n"));
    // A directory that cannot be written to is a refusal, not a surprise later.
    std::fs::write(world.path("file"), "").unwrap();
    let output = world.run(&["--log-dir", "file", "--", "echo", "never"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(73), ""));
}

#[test]
fn a_stuck_reader_does_not_keep_a_stop_waiting_for_ever() {
    let world = World::new();
    let mut supervisor = world.start(&[
        "--name",
        "r",
        "--observe",
        "--stop-grace",
        "0.3",
        "--",
        "sh",
        "-c",
        "exec cat /dev/zero",
    ]);
    world.wait_for("r", "healthy");
    until("the pipes are full", || {
        std::thread::sleep(Duration::from_millis(50));
        true
    });
    let status = supervisor.stop();
    assert!(status.code().is_some(), "{status:?}");
}

#[test]
fn what_the_command_said_last_is_escaped_in_the_supervisors_own_lines() {
    let world = World::new();
    let script = "printf '\\033]0;title\\007last words\\n' >&2; exit 3";
    let args = ["--name", "e", "--max-attempts", "1", "--backoff-base", "0", "--", "sh", "-c", script];
    let said = text(&world.run(&args).stderr);
    let own: Vec<&str> = said.lines().filter(|line| line.starts_with("agor-supervise: ")).collect();
    assert_eq!(own.len(), 2, "{said:?}");
    assert!(own.iter().all(|line| line.contains(r"\e]0;title\x07last words")), "{own:?}");
}
