//! The relay as its unit runs it: credentials below `$CREDENTIALS_DIRECTORY`, readiness to `$NOTIFY_SOCKET`.

use std::fs::{Permissions, set_permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use agor_tests::{World, bin_dir, stderr, stdout, top};

/// How long a message from the relay may take before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The relay; killed where the test ends before it.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The arguments of the unit's ExecStart, with the directory filled in as systemd does.
fn arguments(unit: &str, credentials: &str) -> Vec<String> {
    let text = std::fs::read_to_string(top().join("packaging/systemd").join(unit)).expect("the unit");
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("its command");
    let mut words = line.split(' ').map(|word| word.replace("${CREDENTIALS_DIRECTORY}", credentials));
    assert_eq!(words.next().as_deref(), Some("@PREFIX@/bin/agor-relay"));
    for name in ["token", "key.pem", "cert.pem"] {
        assert!(text.contains(&format!("\nLoadCredential={name}:")), "{unit} does not load {name}");
    }
    words.collect()
}

#[test]
fn the_relay_serves_with_the_credentials_that_systemd_hands_over() {
    for unit in ["system/agor-relay.service", "user/agor-relay.service"] {
        let world = World::new();
        let path = |name: &str| world.path(name).display().to_string();
        // As the hints of the unit say, then as systemd hands them over: files 0400 in a directory 0500.
        std::fs::create_dir(world.path("credentials")).expect("a directory");
        let file = |name: &str| path(&format!("credentials/{name}"));
        let made = world.run("agor-relay", &["token", "new", "--out", &file("token")]);
        assert!(made.status.success(), "{}", stderr(&made));
        let made =
            world.run("agor-relay", &["cert", "new", "--cert", &file("cert.pem"), "--key", &file("key.pem")]);
        assert!(made.status.success(), "{}", stderr(&made));
        for name in ["token", "cert.pem", "key.pem"] {
            set_permissions(file(name), Permissions::from_mode(0o400)).expect("a mode");
        }
        set_permissions(path("credentials"), Permissions::from_mode(0o500)).expect("a mode");

        let notify = UnixDatagram::bind(world.path("notify")).expect("a socket");
        notify.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let relay = world
            .command(bin_dir().join("agor-relay"))
            .args(arguments(unit, &path("credentials")))
            .args(["--port", "0", "--port-file", &path("port"), "--", "cat"])
            .env("CREDENTIALS_DIRECTORY", path("credentials"))
            .env("NOTIFY_SOCKET", path("notify"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let mut relay = Relay(relay);
        let mut told = String::new();
        while !told.contains("READY=1") {
            let mut buffer = [0; 4096];
            let length = notify.recv(&mut buffer).expect("word from the relay");
            told.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }

        let port = std::fs::read_to_string(world.path("port")).expect("a port");
        let pin = stdout(&world.run("agor-relay", &["pin", &file("cert.pem")]));
        let mut client = world
            .tool("agor-relay")
            .args(["connect", &format!("wss://127.0.0.1:{}", port.trim()), "--token-file", &file("token")])
            .args(["--pin", pin.trim(), "--replies", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        client.stdin.take().expect("a pipe").write_all(b"through the unit\n").expect("it reads");
        let output = client.wait_with_output().expect("it ends");
        assert_eq!(stdout(&output), "through the unit\n", "{unit}");
        let pid = i32::try_from(relay.0.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        assert!(relay.0.wait().expect("it ends").success(), "{unit}");
        set_permissions(path("credentials"), Permissions::from_mode(0o700)).expect("a mode, for its removal");
    }
}
