//! The kernel's own records of what Landlock denied, where this process may read them: root on a host that has
//! auditing switched on (kernel documentation, admin-guide/LSM/landlock). They know of denials that no system
//! call's arguments show: a signal, an ioctl, an abstract socket.
//!
//! Nothing about the host's auditing is ever changed. Where there are no records this is quietly absent.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::model::Refusal;
use crate::observe::Want;

// linux/audit.h
const GET: u16 = 1000;
const LANDLOCK_ACCESS: u16 = 1423;
const LANDLOCK_DOMAIN: u16 = 1424;
/// `AUDIT_NLGRP_READLOG`, as a bit.
const READ_LOG: u32 = 1;
const HEADER: usize = 16;
/// `MAX_AUDIT_MESSAGE_LENGTH`
const LONGEST: usize = 8970;
/// At most so many different denials are kept.
const MOST: usize = 10_000;

/// How long the first record may be behind COMMAND's end; the kernel hands them out by a thread of its own.
const LATE: Duration = Duration::from_millis(500);
/// How long the last one may be, when there are any: the record of the domain's end is awaited.
const LAST: Duration = Duration::from_secs(2);

/// The records of one sandbox.
#[derive(Debug)]
pub(crate) struct Records {
    socket: OwnedFd,
    heard: Heard,
}

/// What was heard, of every domain: whose it is comes after the first denial.
#[derive(Debug, Default)]
struct Heard {
    /// The process that entered the domain.
    creator: i32,
    denied: BTreeMap<String, BTreeSet<Denied>>,
    own: BTreeSet<String>,
    ended: bool,
}

/// One denial, as the record says it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Denied {
    /// `fs.read_file`, `scope.signal`, …
    blocker: String,
    /// The path, the port or the process, as far as there is one.
    object: OsString,
}

impl Records {
    /// Listens, where that is allowed and anything would be heard.
    pub(crate) fn listen() -> Option<Records> {
        let flags = SocketFlags::CLOEXEC;
        let socket = |groups| -> io::Result<OwnedFd> {
            let kind = (AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::AUDIT));
            let socket = rustix::net::socket_with(kind.0, kind.1, kind.2, kind.3)?;
            rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
            Ok(socket)
        };
        let on = enabled(&socket(0).ok()?)?;
        let socket = on.then(|| socket(READ_LOG).ok())??;
        Some(Records { socket, heard: Heard::default() })
    }

    /// Whose records are meant: the process that puts the sandbox up.
    pub(crate) fn of(&mut self, creator: i32) {
        self.heard.creator = creator;
    }

    /// What to poll for.
    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes what is there.
    pub(crate) fn take(&mut self) {
        let mut buffer = [0_u8; HEADER + LONGEST];
        while let Ok((length, _)) = rustix::net::recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
            if let Some(kind) = kind(&buffer[..length]) {
                self.heard.record(kind, &buffer[HEADER..length]);
            }
        }
    }

    /// Takes what is still on its way when COMMAND has ended.
    pub(crate) fn take_last(&mut self) {
        let end = Instant::now();
        self.take();
        loop {
            let most = if self.heard.own.is_empty() { LATE } else { LAST };
            let left = most.saturating_sub(end.elapsed());
            if self.heard.ended || left.is_zero() {
                return;
            }
            let Ok(left) = Timespec::try_from(left) else { return };
            match rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => self.take(),
                Err(_) => return,
            }
        }
    }

    /// What was denied beyond `seen`.
    pub(crate) fn beyond(&self, seen: &BTreeMap<Want, u64>) -> Vec<Refusal> {
        self.heard.beyond(seen)
    }
}

/// Whether the kernel makes records; nothing where it does not say.
fn enabled(socket: &OwnedFd) -> Option<bool> {
    // struct nlmsghdr: length, type, NLM_F_REQUEST, sequence, port.
    let mut request = [0_u8; HEADER];
    request[..4].copy_from_slice(&u32::try_from(HEADER).ok()?.to_ne_bytes());
    request[4..6].copy_from_slice(&GET.to_ne_bytes());
    request[6..8].copy_from_slice(&1_u16.to_ne_bytes());
    rustix::net::send(socket, &request, SendFlags::empty()).ok()?;
    let mut answer = [0_u8; 256];
    // The kernel has answered before send(2) comes back, or refuses: then there is an error to read.
    let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    rustix::event::poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&wait)).ok()?;
    let (length, _) = rustix::net::recv(socket, &mut answer, RecvFlags::DONTWAIT).ok()?;
    // struct audit_status: a mask, then whether it is on.
    let on = answer[..length].get(HEADER + 4..HEADER + 8)?;
    (kind(&answer[..length])? == GET).then(|| on != [0; 4])
}

fn kind(message: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(message.get(4..6).filter(|_| message.len() > HEADER)?.try_into().ok()?))
}

impl Heard {
    fn record(&mut self, kind: u16, text: &[u8]) {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let Some(domain) = field(text, "domain").map(|id| id.to_string_lossy().into_owned()) else { return };
        match kind {
            LANDLOCK_ACCESS => {
                let Some(blockers) = field(text, "blockers") else { return };
                let object = ["path", "dest", "src", "opid"].iter().find_map(|key| field(text, key));
                let object = object.unwrap_or_default();
                let count: usize = self.denied.values().map(BTreeSet::len).sum();
                let blockers = blockers.to_string_lossy();
                for blocker in asked(&blockers).filter(|_| count < MOST) {
                    let denied = Denied { blocker: blocker.to_owned(), object: object.clone() };
                    self.denied.entry(domain.clone()).or_default().insert(denied);
                }
            }
            LANDLOCK_DOMAIN => {
                let is = |key: &str, value: &str| field(text, key).is_some_and(|there| there == value);
                if is("status", "allocated") && is("pid", &self.creator.to_string()) {
                    self.own.insert(domain.clone());
                }
                self.ended |= is("status", "deallocated") && self.own.contains(&domain);
            }
            _ => {}
        }
    }

    fn beyond(&self, seen: &BTreeMap<Want, u64>) -> Vec<Refusal> {
        let own = self.denied.iter().filter(|(domain, _)| self.own.contains(*domain));
        let mut refusals: Vec<Refusal> = Vec::new();
        for denied in own.flat_map(|(_, denied)| denied) {
            if seen.keys().any(|want| denied.is(want)) {
                continue;
            }
            let refusal = denied.refusal();
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        }
        refusals
    }
}

impl Denied {
    /// Whether a want was refused by this.
    fn is(&self, want: &Want) -> bool {
        let object = Path::new(&self.object);
        let port = |port: &u16| self.object == OsString::from(port.to_string());
        match (self.blocker.as_str(), want) {
            ("fs.execute", Want::Execute(path)) => path == object,
            ("fs.read_file" | "fs.read_dir", Want::Read(path)) => path == object,
            ("fs.write_file" | "fs.truncate", Want::Write(path)) => path == object,
            // The kernel names the directory.
            (blocker, Want::Change(path)) if changes(blocker) => {
                path.parent() == Some(object) || path == object
            }
            ("net.connect_tcp", Want::Tcp(number)) | ("net.bind_tcp", Want::Bind(number)) => port(number),
            _ => false,
        }
    }

    fn refusal(&self) -> Refusal {
        let object = PathBuf::from(&self.object);
        let shown = object.display();
        let (what, option) = match self.blocker.as_str() {
            "fs.execute" => (format!("execute {shown}"), format!("--rox {shown}")),
            "fs.read_file" | "fs.read_dir" => (format!("read {shown}"), format!("--ro {shown}")),
            "fs.write_file" | "fs.truncate" => (format!("write {shown}"), format!("--rw {shown}")),
            "fs.ioctl_dev" => (format!("ioctl on {shown}"), format!("--rw {shown}")),
            "net.connect_tcp" => (format!("connect to TCP port {shown}"), format!("--connect-tcp {shown}")),
            "net.bind_tcp" => (format!("bind TCP port {shown}"), format!("--bind-tcp {shown}")),
            "scope.signal" => (format!("signal process {shown}"), "it is outside".into()),
            "ptrace" => (format!("trace process {shown}"), "it is outside".into()),
            "scope.abstract_unix_socket" => {
                // Its name begins with a NUL.
                let name = shown.to_string();
                (format!("connect to the abstract socket @{}", name.trim_matches('\0')), "--unix-all".into())
            }
            blocker if changes(blocker) => (format!("change names in {shown}"), format!("--rw {shown}")),
            blocker => (format!("{blocker} {shown}").trim_end().to_owned(), "see landlock(7)".into()),
        };
        Refusal { what, option }
    }
}

/// The blockers that say what was asked for. A link or a rename into another directory comes with all rights that
/// the file would gain or lose, those included that nobody has.
fn asked(blockers: &str) -> impl Iterator<Item = &str> {
    let all = blockers.split(',');
    let several = blockers.contains(',');
    let moved = blockers.split(',').any(|blocker| blocker == "fs.refer");
    let compared = several && blockers.split(',').any(|blocker| blocker == "fs.make_char");
    all.filter(move |blocker| if moved { *blocker == "fs.refer" } else { !compared })
}

fn changes(blocker: &str) -> bool {
    blocker.starts_with("fs.make_") || blocker.starts_with("fs.remove_") || blocker == "fs.refer"
}

/// A field of a record: quoted where it is plain, else, when it is a text of somebody's, in hexadecimal.
fn field(text: &[u8], key: &str) -> Option<OsString> {
    let mut rest = text;
    loop {
        let at = rest.windows(key.len() + 1).position(|part| part == format!("{key}=").as_bytes())?;
        let begins = at == 0 || rest[at - 1] == b' ';
        let (before, value) = (begins, &rest[at + key.len() + 1..]);
        rest = value;
        if !before {
            continue;
        }
        if let Some(quoted) = value.strip_prefix(b"\"") {
            let end = quoted.iter().position(|byte| *byte == b'"')?;
            return Some(OsStr::from_bytes(&quoted[..end]).to_owned());
        }
        let plain = value.split(|byte| *byte == b' ').next()?;
        let text = key == "path" && plain.len().is_multiple_of(2);
        let bytes = text.then(|| unhex(plain)).flatten();
        return Some(OsString::from_vec(bytes.unwrap_or_else(|| plain.to_vec())));
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kernel 6.18 writes them.
    fn heard() -> Heard {
        let mut heard = Heard { creator: 42, ..Heard::default() };
        for (kind, text) in [
            (1423, "audit(1.5:2): domain=1a blockers=fs.read_file path=\"/out/f\" dev=\"vda\" ino=1"),
            (
                1424,
                "audit(1.5:2): domain=1a status=allocated mode=enforcing pid=42 uid=0 exe=\"/s\" comm=\"s\"",
            ),
            (1300, "audit(1.5:2): arch=c000003e syscall=257 success=no exit=-13"),
            (
                1423,
                "audit(1.5:3): domain=1a blockers=fs.execute,fs.make_reg,fs.refer path=2F6F75742F0A dev=\"vda\" ino=2",
            ),
            (1423, "audit(1.5:3): domain=1a blockers=fs.execute,fs.make_char path=\"/in\" dev=\"vda\" ino=4"),
            (1423, "audit(1.5:3): domain=1a blockers=scope.abstract_unix_socket path=00616263"),
            (1423, "audit(1.5:4): domain=1a blockers=scope.signal opid=7 ocomm=\"init\""),
            (1423, "audit(1.5:5): domain=1a blockers=net.connect_tcp daddr=127.0.0.1 dest=80"),
            (1423, "audit(1.5:6): domain=2b blockers=fs.read_file path=\"/theirs\" dev=\"vda\" ino=3"),
            (1424, "audit(1.5:6): domain=2b status=allocated mode=enforcing pid=43 uid=0"),
        ] {
            heard.record(kind, text.as_bytes());
        }
        heard
    }

    #[test]
    fn records_of_this_sandbox_become_refusals() {
        let heard = heard();
        let what = |seen: &[Want]| -> Vec<String> {
            let seen = seen.iter().map(|want| (want.clone(), 1)).collect();
            heard.beyond(&seen).into_iter().map(|refusal| refusal.what).collect()
        };
        assert_eq!(
            what(&[]),
            [
                "read /out/f",
                "change names in /out/\n",
                "connect to TCP port 80",
                "connect to the abstract socket @abc",
                "signal process 7"
            ]
        );
        let seen = [Want::Read("/out/f".into()), Want::Change("/out/\n/x".into()), Want::Tcp(80)];
        assert_eq!(what(&seen), ["connect to the abstract socket @abc", "signal process 7"]);
    }

    #[test]
    fn the_end_of_the_own_domain_ends_the_wait() {
        let mut heard = heard();
        heard.record(1424, b"audit(1.6:9): domain=2b status=deallocated denials=1");
        assert!(!heard.ended);
        heard.record(1424, b"audit(1.6:10): domain=1a status=deallocated denials=4");
        assert!(heard.ended);
        heard.record(1423, b"audit(1.6:11): domain=");
        heard.record(1423, b"");
    }
}
