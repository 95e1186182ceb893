//! An agent whose supervisor was killed is about to be ended itself: what it still says is no sign of life.

use std::process::Stdio;
use std::time::{Duration, Instant};

use agor_tests::{World, stderr, stdout};

fn state(world: &World) -> String {
    let health = world.run("btmsg", &["health", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&health.stdout).expect("health prints JSON");
    value["agents"][0]["state"].as_str().expect("an agent has a state").to_owned()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_heartbeat_after_the_supervisors_death_revives_nobody() {
    let world = World::new();
    assert!(world.run("btmsg", &["register", "w"]).status.success());
    let said = world.path("supervisor");
    let mut supervisor = world
        .tool("agor-supervise")
        .args([
            "--name",
            "w",
            "--agent",
            "w",
            "--",
            "sh",
            "-c",
            "echo \"$AGOR_SUPERVISOR\" >\"$0\"; exec sleep 1000",
        ])
        .arg(&said)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("the agent runs", || std::fs::read_to_string(&said).is_ok_and(|text| text.ends_with("}\n")));
    let heartbeat = |lease: Option<&str>| {
        let mut command = world.tool("btmsg");
        command.env("BTMSG_AGENT_ID", "w").arg("heartbeat");
        if let Some(lease) = lease {
            command.env("AGOR_SUPERVISOR", lease);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    };
    let lease = std::fs::read_to_string(&said).unwrap();
    heartbeat(Some(lease.trim()));
    assert_eq!(state(&world), "running");

    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    assert_eq!(state(&world), "crashed");
    heartbeat(Some(lease.trim()));
    assert_eq!(state(&world), "crashed", "its last word");
    // Started by other means, it lives again.
    heartbeat(None);
    assert_eq!(state(&world), "running");
}
