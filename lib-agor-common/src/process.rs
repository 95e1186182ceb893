//! Who a process is, for longer than its number: pid, start time and boot.
//!
//! A pid is reused; a pid together with its start time (field 22 of `/proc/PID/stat`, proc_pid_stat(5),
//! clock ticks since boot) and the boot id is not. This is the lease by which a dead supervisor is told
//! from a living one.

use std::fs;

/// A process's identity.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Process id, in this pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

impl Identity {
    /// This process.
    pub fn current() -> Identity {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Identity { pid, start: start_time(pid).unwrap_or(0), boot_id: boot_id() }
    }

    /// A process that exists now.
    pub fn of(pid: i32) -> Option<Identity> {
        Some(Identity { pid, start: start_time(pid)?, boot_id: boot_id() })
    }

    /// Whether this very process is still running (a zombie is not).
    pub fn is_alive(&self) -> bool {
        self.boot_id == boot_id() && start_time(self.pid) == Some(self.start)
    }
}

/// This boot's id, or an empty string where `/proc` does not say.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Whose `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` this process has: the boot's, in one time namespace
/// (time_namespaces(7)) where that can be known; empty where the boot cannot.
pub fn clock_id() -> String {
    let boot = boot_id();
    match fs::read_link("/proc/self/ns/time") {
        Ok(namespace) if !boot.is_empty() => format!("{boot}/{}", namespace.display()),
        _ => boot,
    }
}

/// `/proc/PID/stat` from its third field on.
fn stat(pid: i32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold anything, also ')': the fields follow the last one.
    let after = stat.iter().rposition(|byte| *byte == b')')? + 2;
    std::str::from_utf8(stat.get(after..)?).ok().map(str::to_owned)
}

/// Whether a process is stopped by a signal or by its tracer.
pub fn is_stopped(pid: i32) -> bool {
    stat(pid).is_some_and(|rest| rest.starts_with(['T', 't']))
}

/// Start time in clock ticks since boot; `None` when there is no such process or it is a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    let rest = stat(pid)?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The command line of a process on one line, arguments separated by blanks; its name where it has none. It is
/// shown to others than those who may look into `/proc`: the value of `--token` and the like is left out.
pub fn command_line(pid: i32) -> Option<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> = raw
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if !words.is_empty() {
        return Some(crate::text::single_line(&without_secrets(words).join(" ")));
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(crate::text::single_line(name.trim()))
}

fn without_secrets(mut words: Vec<String>) -> Vec<String> {
    let is_secret = |flag: &str| {
        let name = flag.trim_start_matches('-').to_ascii_lowercase();
        let last = name.rsplit(['-', '_']).next().unwrap_or_default();
        flag.starts_with('-')
            && (matches!(last, "token" | "secret" | "password" | "passwd" | "passphrase" | "apikey")
                || name.ends_with("api-key"))
    };
    for at in 0..words.len() {
        match words[at].split_once('=') {
            Some((flag, _)) if is_secret(flag) => words[at] = format!("{flag}=…"),
            None if is_secret(&words[at]) && at + 1 < words.len() => words[at + 1] = "…".into(),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_shows_no_secret() {
        let mut child = std::process::Command::new("sh")
            .args([
                "-c",
                "echo; read x",
                "relay",
                "--token",
                "hunter2",
                "--auth-token=hunter2",
                "--token-file",
                "F",
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Its command line is there once it has said something.
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let line = command_line(i32::try_from(child.id()).unwrap()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(line, "sh -c echo; read x relay --token … --auth-token=… --token-file F");
    }

    #[test]
    fn knows_itself_and_the_dead() {
        let me = Identity::current();
        assert!(me.is_alive());
        assert!(!Identity { start: me.start + 1, ..me.clone() }.is_alive());
        assert!(!Identity { boot_id: "other".into(), ..me }.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap());
        child.wait().unwrap();
        assert!(identity.is_none_or(|identity| !identity.is_alive()));
    }
}
