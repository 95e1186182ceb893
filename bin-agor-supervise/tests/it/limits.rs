//! Too few descriptors, and cgroups that were given to us.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::{World, is_running, skip, text, until};

/// Sets how many descriptors a running process may have.
fn allow(pid: i32, files: u64) {
    let limit = Rlimit { current: Some(files), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).unwrap();
}

#[test]
fn too_few_descriptors_at_the_start_are_said_and_survived() {
    let world = World::new();
    let (mut ran, mut refused) = (0, 0);
    for files in 3..40 {
        let script = format!(
            "ulimit -n {files}; exec {} --name n{files} --observe --backoff-base 0.01 --max-attempts 2 -- \
             echo ran",
            env!("CARGO_BIN_EXE_agor-supervise")
        );
        let mut command = world.command(&[]);
        let env: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
        command = Command::new("sh");
        command.args(["-c", &script]).current_dir(world.dir.path()).stdin(Stdio::null());
        for (name, value) in env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        match output.status.code() {
            Some(0) => {
                assert_eq!(out, "ran\n", "{files}: {err}");
                ran += 1;
            }
            // Before our main, the loader of a dynamic program ends with 127 of its own.
            Some(125..=127) => {
                let said = err.contains("open files") || err.contains("shared libraries");
                assert!(said, "{files}: {err}");
                refused += 1;
            }
            other => panic!("{files}: {other:?} {out}{err}"),
        }
    }
    assert!(ran > 0 && refused > 0, "{ran} ran, {refused} were refused");
}

#[test]
fn no_descriptor_to_be_had_while_it_runs_is_an_attempt() {
    let world = World::new();
    let mut supervisor = world.start(&[
        "--name",
        "d",
        "--observe",
        "--backoff-base",
        "0.05",
        "--max-attempts",
        "0",
        "--",
        "sh",
        "-c",
        "echo up; read x; exit 1",
    ]);
    assert_eq!(supervisor.line(), "up");
    world.wait_for("d", "healthy");
    allow(supervisor.pid(), 3);
    supervisor.write("\n");
    // Its state cannot be written either, so what it says is listened to.
    let mut said = BufReader::new(supervisor.stderr.take().unwrap());
    let mut line = String::new();
    while !(line.contains("Too many open files") && line.contains("attempt 4 in")) {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it has ended");
    }
    assert!(is_running(supervisor.pid()));
    allow(supervisor.pid(), 1024);
    assert_eq!(supervisor.line(), "up");
    world.wait_for("d", "healthy");
    assert_eq!(supervisor.stop().code(), Some(0));
}

/// A cgroup that says that it was given away, as systemd marks one with `Delegate=yes`; gone when dropped.
struct Delegated(std::path::PathBuf);

impl Delegated {
    fn make() -> Result<Delegated, String> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let mount = mounts
            .lines()
            .find(|line| line.split(' ').nth(2) == Some("cgroup2"))
            .and_then(|line| line.split(' ').nth(1))
            .ok_or("there is no cgroup v2 here")?;
        let dir = std::path::Path::new(mount).join(format!("agor-test-{}", std::process::id()));
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let made = Delegated(dir);
        rustix::fs::setxattr(&made.0, "trusted.delegate", b"1", rustix::fs::XattrFlags::empty())
            .map_err(|error| format!("mark a cgroup as delegated: {error}"))?;
        Ok(made)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        until("its cgroup is empty", || std::fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn a_delegated_cgroup_is_used_unasked_and_is_each_directorys_own() {
    let delegated = match Delegated::make() {
        Ok(delegated) => delegated,
        Err(why) => return skip(&why),
    };
    let start = |world: &World| {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec {} --name g -- sh -c 'echo up; exec sleep 1000'",
            delegated.0.display(),
            env!("CARGO_BIN_EXE_agor-supervise")
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("AGOR_DATA_DIR", world.path("data"));
        let mut supervisor = world.spawn(&mut command);
        assert_eq!(supervisor.line(), "up");
        world.wait_for("g", "healthy");
        assert_eq!(world.status("g")["isolation"], "cgroup");
        supervisor
    };
    // Two of the same name, in two data directories, are nothing to each other.
    let (one, two) = (World::new(), World::new());
    let mut first = start(&one);
    let mut second = start(&two);
    assert_eq!(one.status("g")["incarnation"], 1);
    assert_eq!(one.status("g")["health"], "healthy");
    assert_eq!(first.stop().code(), Some(0));
    assert_eq!(two.status("g")["health"], "healthy");
    assert_eq!(second.stop().code(), Some(0));
}
