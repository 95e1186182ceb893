//! `make demo`, with the programs of this build.

use agor_tests::{World, bin_dir, executable, skip, stderr, stdout, top};

fn run_demo(world: &World, mut command: std::process::Command) -> std::process::Output {
    command
        .env("AGOR_BIN", bin_dir())
        .env("AGOR_DEMO_DIR", world.path("work"))
        .output()
        .expect("bash is there")
}

#[test]
fn every_step_of_the_demo_holds() {
    let world = World::new();
    let output = run_demo(&world, world.command(top().join("examples/demo")));
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", stderr(&output));
    assert!(text.contains("demo: all "), "{text}");
    assert!(!text.contains("FAIL"), "{text}");
    let left: Vec<_> = std::fs::read_dir(world.path("work")).unwrap().collect();
    assert!(left.is_empty(), "it cleans up: {left:?}");
}

#[test]
fn the_demo_holds_as_a_plain_user() {
    if std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap_or(1) != 0 {
        return skip("not root: the other demo test is the plain user's");
    }
    // The checkout and the build must be readable to that user.
    let probe = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["sh", "-c", "test -x \"$1\" && test -x \"$2\" && test -x \"$3\"", "sh"])
        .args([bin_dir().join("btmsg"), top().join("examples/demo"), top().join("examples/echo-agent")])
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip("nobody cannot run the programs of this build (or there is no setpriv)");
    }
    let world = World::new();
    for dir in ["", "work", "home", "tmp", "data"] {
        std::os::unix::fs::chown(world.path(dir), Some(65534), Some(65534)).unwrap();
    }
    let mut command = world.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(top().join("examples/demo"));
    let output = run_demo(&world, command);
    assert_eq!(output.status.code(), Some(0), "{}\n{}", stdout(&output), stderr(&output));
}

#[test]
fn the_demo_fails_when_a_promise_is_broken() {
    let world = World::new();
    // A sandbox that grants everything.
    let fake = world.path("bin");
    std::fs::create_dir(&fake).unwrap();
    for tool in agor_tests::TOOLS {
        std::os::unix::fs::symlink(bin_dir().join(tool), fake.join(tool)).unwrap();
    }
    std::fs::remove_file(fake.join("agor-sandbox")).unwrap();
    executable::write(
        fake.join("agor-sandbox"),
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n",
    );
    let mut command = world.command(top().join("examples/demo"));
    command.env("AGOR_BIN", &fake).env("AGOR_DEMO_DIR", world.path("work"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stdout(&output).contains("FAIL  it could write outside its grant"), "{}", stdout(&output));
}
