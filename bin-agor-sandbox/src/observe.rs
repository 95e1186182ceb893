//! What a system call asks for: from registers and memory of a process to a path and a right.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::net::SocketType;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd};

use crate::seccomp::{Rule, Test, Verdict};
use crate::sys::notify::{self, Call};
use crate::sys::{exec, path};

/// What a process wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Want {
    /// Read a file or list a directory.
    Read(PathBuf),
    /// Write to a file that is there.
    Write(PathBuf),
    /// Make, remove or rename a name; the path is the name's.
    Change(PathBuf),
    /// Execute.
    Execute(PathBuf),
    /// Connect to a Unix socket.
    Unix(PathBuf),
    /// Connect to a TCP port.
    Tcp(u16),
    /// Bind a TCP port.
    Bind(u16),
    /// Connect or bind a socket that carries datagrams.
    Udp,
}

/// Where a path is: the argument with the directory's descriptor, if there is one, and the one with the path.
type At = (Option<u8>, u8);

#[derive(Debug, Clone, Copy)]
enum How {
    /// Flags in the second argument named here.
    Open(At, u8),
    /// `openat2`: flags behind a pointer.
    Open2,
    /// `creat`.
    #[cfg(target_arch = "x86_64")]
    Create(At),
    /// A name that must not be there yet.
    Make(At),
    /// A name that must be there.
    Remove(At),
    /// One that is there, to another that may be.
    Rename(At, At),
    /// One that is there, to another that is not.
    Link(At, At),
    /// A file that is there, by its path.
    Write(At),
    /// Flags in the second argument named here.
    Execute(At, Option<u8>),
    Connect,
    Bind,
    /// `sendto`, which may bring an address.
    SendTo,
    /// `sendmsg`: the address is behind a pointer.
    SendMessage,
    /// `sendmmsg`, as many messages as the third argument says.
    SendMessages,
}

/// The calls that are observed.
const CALLS: &[(i64, How)] = &[
    (libc::SYS_openat, How::Open((Some(0), 1), 2)),
    (libc::SYS_openat2, How::Open2),
    (libc::SYS_execve, How::Execute((None, 0), None)),
    (libc::SYS_execveat, How::Execute((Some(0), 1), Some(4))),
    (libc::SYS_mkdirat, How::Make((Some(0), 1))),
    (libc::SYS_mknodat, How::Make((Some(0), 1))),
    (libc::SYS_unlinkat, How::Remove((Some(0), 1))),
    (libc::SYS_symlinkat, How::Make((Some(1), 2))),
    (libc::SYS_linkat, How::Link((Some(0), 1), (Some(2), 3))),
    (libc::SYS_renameat2, How::Rename((Some(0), 1), (Some(2), 3))),
    (libc::SYS_truncate, How::Write((None, 0))),
    (libc::SYS_connect, How::Connect),
    (libc::SYS_bind, How::Bind),
    (libc::SYS_sendto, How::SendTo),
    (libc::SYS_sendmsg, How::SendMessage),
    (libc::SYS_sendmmsg, How::SendMessages),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, How::Open((None, 0), 1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, How::Create((None, 0))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, How::Make((None, 0))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, How::Remove((None, 0))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, How::Make((None, 0))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, How::Remove((None, 0))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, How::Make((None, 1))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, How::Link((None, 0), (None, 1))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, How::Rename((None, 0), (None, 1))),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_renameat, How::Rename((Some(0), 1), (Some(2), 3))),
];

/// Adds the observation to a filter, where it does not refuse the call anyway. What takes no right (`O_PATH`,
/// a send to whom the socket is connected to) is not worth the question.
pub(crate) fn add_rules(rules: &mut Vec<Rule>) {
    for (call, how) in CALLS {
        let number = u32::try_from(*call).expect("system call numbers are small");
        let (case, otherwise) = match how {
            How::Open(_, flags) => {
                let path_only = vec![Test::Any { arg: *flags, bits: libc::O_PATH as u32 }];
                (Some((path_only, Verdict::Allow)), Verdict::Notify)
            }
            How::SendTo => {
                (Some((vec![Test::Any { arg: 4, bits: u32::MAX }], Verdict::Notify)), Verdict::Allow)
            }
            // With it the listener itself is handed over, before anybody answers.
            How::SendMessage => {
                let hand_over = vec![Test::Any { arg: 2, bits: notify::HAND_OVER.bits() }];
                (Some((hand_over, Verdict::Allow)), Verdict::Notify)
            }
            _ => (None, Verdict::Notify),
        };
        match rules.iter_mut().find(|rule| rule.number == number) {
            Some(rule) if rule.otherwise == Verdict::Allow => {
                rule.cases.extend(case);
                rule.otherwise = otherwise;
            }
            Some(_) => {}
            None => rules.push(Rule { number, cases: case.into_iter().collect(), otherwise }),
        }
    }
    rules.sort_by_key(|rule| rule.number);
}

/// What a call wants; empty where its memory cannot be read, where it names nothing, and where it fails before
/// any right is asked for (a directory that is to be made and is there).
pub(crate) fn wants(call: &Call) -> Vec<Want> {
    let Some((_, how)) = CALLS.iter().find(|(number, _)| *number == call.number) else { return Vec::new() };
    find(call, *how).unwrap_or_default()
}

fn find(call: &Call, how: How) -> Option<Vec<Want>> {
    let argument = |at: u8| call.args[usize::from(at)];
    let full = |(dir, at): At| {
        let dir = dir.map_or(libc::AT_FDCWD, |dir| argument(dir) as i32);
        absolute(call.pid, dir, string(call.pid, argument(at))?)
    };
    // The name itself, whatever it leads to.
    let name = |at: At| Some(itself(&full(at)?));
    Some(match how {
        How::Open(at, flags) => open(&full(at)?, argument(flags) as i32),
        #[cfg(target_arch = "x86_64")]
        How::Create(at) => open(&full(at)?, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC),
        How::Open2 => {
            let mut flags = [0_u8; 8];
            notify::read_memory(call.pid, call.args[2], &mut flags);
            open(&full((Some(0), 1))?, u64::from_ne_bytes(flags) as i32)
        }
        How::Make(at) => name(at).filter(|name| !there(name)).map(Want::Change).into_iter().collect(),
        How::Remove(at) => name(at).filter(|name| there(name)).map(Want::Change).into_iter().collect(),
        How::Rename(from, to) => {
            let both = [name(from).filter(|name| there(name))?, name(to)?];
            both.into_iter().map(Want::Change).collect()
        }
        How::Link(from, to) => {
            let to = name(to).filter(|name| !there(name))?;
            // What is linked may be an open file without any name.
            let from = name(from).filter(|name| there(name) && !name.starts_with("/proc"));
            [Some(to), from].into_iter().flatten().map(Want::Change).collect()
        }
        How::Write(at) => vec![Want::Write(canonical(&full(at)?))],
        How::Execute((Some(dir), at), Some(flags)) if argument(flags) & libc::AT_EMPTY_PATH as u64 != 0 => {
            let path = match string(call.pid, argument(at)) {
                Some(_) => full((Some(dir), at))?,
                None => opened(call.pid, argument(dir) as i32)?,
            };
            executed(call.pid, canonical(&path))
        }
        How::Execute(at, _) => executed(call.pid, canonical(&full(at)?)),
        How::Connect => match address(call.pid, call.args[1], call.args[2])? {
            Address::Unix(path) => vec![Want::Unix(canonical(&path))],
            Address::Port(_) if carries_datagrams(call) => vec![Want::Udp],
            Address::Port(port) => vec![Want::Tcp(port)],
        },
        How::Bind => match address(call.pid, call.args[1], call.args[2])? {
            Address::Unix(path) => {
                let name = itself(&path);
                if there(&name) { Vec::new() } else { vec![Want::Change(name)] }
            }
            Address::Port(_) if carries_datagrams(call) => vec![Want::Udp],
            Address::Port(port) => vec![Want::Bind(port)],
        },
        How::SendTo => sent(call.pid, call.args[4], call.args[5])?,
        How::SendMessage => message(call.pid, call.args[1])?,
        How::SendMessages => {
            let count = call.args[2].min(MESSAGES);
            let at = |number: u64| call.args[1].saturating_add(number * size_of::<libc::mmsghdr>() as u64);
            (0..count).filter_map(|number| message(call.pid, at(number))).flatten().collect()
        }
    })
}

/// The program, and what it is run by: the kernel opens that itself, and asks for the same right.
fn executed(pid: i32, program: PathBuf) -> Vec<Want> {
    let mut programs = vec![program];
    // As deep as the kernel goes (fs/exec.c).
    while programs.len() <= 5
        && let Some(last) = programs.last().filter(|last| exec::may_execute(last.as_os_str()))
        && let Some(name) = path::interpreter(last)
        && let Some(next) = absolute(pid, libc::AT_FDCWD, name.into_os_string().into_vec())
    {
        programs.push(canonical(&next));
    }
    programs.into_iter().map(Want::Execute).collect()
}

/// Whether the socket in the first argument does; one that cannot be looked at counts as TCP.
fn carries_datagrams(call: &Call) -> bool {
    let look = || {
        // The call's number is a thread's, and a pidfd takes the process's.
        let status = std::fs::read_to_string(format!("/proc/{}/status", call.pid)).ok()?;
        let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?;
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(process)?, PidfdFlags::empty()).ok()?;
        let socket = pidfd_getfd(pidfd, call.args[0] as i32, PidfdGetfdFlags::empty()).ok()?;
        rustix::net::sockopt::socket_type(socket).ok()
    };
    look() == Some(SocketType::DGRAM)
}

/// So many messages of one call are looked at.
const MESSAGES: u64 = 64;

/// The address of a `struct msghdr`, which begins with where it is and its length.
fn message(pid: i32, at: u64) -> Option<Vec<Want>> {
    let mut header = [0_u8; 12];
    if read_whole(pid, at, &mut header) < header.len() {
        return None;
    }
    let (name, length) = header.split_at(8);
    let name = u64::from_ne_bytes(name.try_into().ok()?);
    let length = u32::from_ne_bytes(length.try_into().ok()?);
    if name == 0 { None } else { sent(pid, name, length.into()) }
}

fn sent(pid: i32, at: u64, length: u64) -> Option<Vec<Want>> {
    match address(pid, at, length)? {
        Address::Unix(path) => Some(vec![Want::Unix(canonical(&path))]),
        Address::Port(_) => None,
    }
}

fn there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn open(path: &Path, flags: i32) -> Vec<Want> {
    if flags & libc::O_PATH != 0 {
        return Vec::new();
    }
    let exclusive = flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0;
    let path = if exclusive || flags & libc::O_NOFOLLOW != 0 { itself(path) } else { canonical(path) };
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        return vec![Want::Change(path.join("#"))];
    }
    let meta = std::fs::symlink_metadata(&path);
    if meta.is_err() {
        return if flags & libc::O_CREAT != 0 { vec![Want::Change(path)] } else { Vec::new() };
    }
    if exclusive || meta.is_ok_and(|meta| meta.is_symlink()) {
        return Vec::new();
    }
    let mut wants = Vec::new();
    let mode = flags & libc::O_ACCMODE;
    if mode != libc::O_WRONLY {
        wants.push(Want::Read(path.clone()));
    }
    if mode != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
        wants.push(Want::Write(path));
    }
    wants
}

fn string(pid: i32, address: u64) -> Option<Vec<u8>> {
    let mut buffer = vec![0_u8; 4096];
    let got = notify::read_memory(pid, address, &mut buffer);
    let end = buffer[..got].iter().position(|byte| *byte == 0)?;
    buffer.truncate(end);
    (!buffer.is_empty()).then_some(buffer)
}

/// The path as this process sees it; nothing for what has none (a pipe behind `/dev/stdout`).
fn absolute(pid: i32, dir: i32, name: Vec<u8>) -> Option<PathBuf> {
    let name = PathBuf::from(OsString::from_vec(name));
    let full = if name.is_absolute() {
        name
    } else if dir == libc::AT_FDCWD {
        std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?.join(name)
    } else {
        opened(pid, dir)?.join(name)
    };
    // What is "self" there is not "self" here.
    for (standard, fd) in [("/dev/stdin", 0), ("/dev/stdout", 1), ("/dev/stderr", 2)] {
        if full == Path::new(standard) {
            return opened(pid, fd);
        }
    }
    let own = Path::new("/proc").join(pid.to_string());
    for prefix in ["/proc/self", "/proc/thread-self"] {
        if let Ok(rest) = full.strip_prefix(prefix) {
            return by_descriptor(pid, own.join(rest));
        }
    }
    match full.strip_prefix("/dev/fd") {
        Ok(rest) => by_descriptor(pid, own.join("fd").join(rest)),
        Err(_) => Some(full),
    }
}

/// What a path leads to that is a descriptor of the process.
fn by_descriptor(pid: i32, path: PathBuf) -> Option<PathBuf> {
    let number = path.strip_prefix(format!("/proc/{pid}/fd")).ok().and_then(Path::to_str);
    match number.and_then(|number| number.parse().ok()) {
        Some(fd) => opened(pid, fd),
        None => Some(path),
    }
}

/// The path of an open file, if it has one.
fn opened(pid: i32, fd: i32) -> Option<PathBuf> {
    let path = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    (path.is_absolute() && there(&path)).then_some(path)
}

/// Without links, but the last part as it is.
fn itself(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => canonical(parent).join(name),
        _ => canonical(path),
    }
}

/// `realpath`, for names too that do not exist, and behind links too.
fn canonical(path: &Path) -> PathBuf {
    // As many links as the kernel follows (path_resolution(7)).
    follow(path, &mut 40)
}

fn follow(path: &Path, links: &mut u32) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => {
            let parent = follow(parent, links);
            match std::fs::read_link(parent.join(name)) {
                Ok(to) if *links > 0 => {
                    *links -= 1;
                    follow(&parent.join(to), links)
                }
                _ => parent.join(name),
            }
        }
        (Some(parent), Some(Component::ParentDir)) => {
            follow(parent, links).parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
        }
        _ => path.to_path_buf(),
    }
}

/// What is no string, and may hold zeroes.
fn read_whole(pid: i32, at: u64, buffer: &mut [u8]) -> usize {
    let mut got = 0;
    while got < buffer.len() {
        let more = notify::read_memory(pid, at.saturating_add(got as u64), &mut buffer[got..]);
        if more == 0 {
            break;
        }
        got += more;
    }
    got
}

enum Address {
    Unix(PathBuf),
    Port(u16),
}

fn address(pid: i32, at: u64, length: u64) -> Option<Address> {
    let mut buffer = [0_u8; 128];
    let length = usize::try_from(length).ok()?.min(buffer.len());
    let got = read_whole(pid, at, &mut buffer[..length]);
    let family = i32::from(u16::from_ne_bytes([buffer[0], buffer[1]]));
    match family {
        libc::AF_INET | libc::AF_INET6 if got >= 4 => {
            Some(Address::Port(u16::from_be_bytes([buffer[2], buffer[3]])))
        }
        libc::AF_UNIX if got > 2 && buffer[2] != 0 => {
            let path = buffer[2..got].split(|byte| *byte == 0).next()?;
            absolute(pid, libc::AT_FDCWD, path.to_vec()).map(Address::Unix)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_exist_are_resolved_too() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(canonical(&real.join("link/none/x")), real.join("none/x"));
        assert_eq!(canonical(&real.join("none/../y")), real.join("y"));
        std::os::unix::fs::symlink("none/x", real.join("dangling")).unwrap();
        assert_eq!(canonical(&real.join("dangling")), real.join("none/x"));
        std::os::unix::fs::symlink("loop", real.join("loop")).unwrap();
        assert_eq!(canonical(&real.join("loop")), real.join("loop"));
    }

    #[test]
    fn opens_want_what_their_flags_say() {
        let dir = tempfile::tempdir().unwrap();
        let dir = tempfile::TempDir::with_prefix_in("o", dir.path().canonicalize().unwrap()).unwrap();
        let file = dir.path().join("f");
        assert_eq!(open(&file, libc::O_RDONLY), []);
        assert_eq!(open(&file, libc::O_WRONLY | libc::O_CREAT), [Want::Change(file.clone())]);
        std::fs::write(&file, "").unwrap();
        assert_eq!(open(&file, libc::O_RDONLY), [Want::Read(file.clone())]);
        assert_eq!(open(&file, libc::O_RDWR), [Want::Read(file.clone()), Want::Write(file.clone())]);
        assert_eq!(open(&file, libc::O_WRONLY | libc::O_TRUNC), [Want::Write(file.clone())]);
        assert_eq!(open(&file, libc::O_PATH), []);
        assert_eq!(open(&file, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL), []);
        let link = dir.path().join("l");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(open(&link, libc::O_RDONLY), [Want::Read(file)]);
        assert_eq!(open(&link, libc::O_RDONLY | libc::O_NOFOLLOW), []);
        assert_eq!(itself(&link), link);
    }

    #[test]
    fn what_the_filter_refuses_is_not_observed_and_the_rest_of_a_rule_stays() {
        let number = |call: i64| u32::try_from(call).unwrap();
        let flags = vec![Test::Any { arg: 3, bits: 1 }];
        let mut rules = vec![
            Rule { number: number(libc::SYS_bind), cases: Vec::new(), otherwise: Verdict::Errno(13) },
            Rule {
                number: number(libc::SYS_sendto),
                cases: vec![(flags.clone(), Verdict::Errno(1))],
                otherwise: Verdict::Allow,
            },
        ];
        add_rules(&mut rules);
        let rule = |call| rules.iter().filter(|rule| rule.number == number(call)).collect::<Vec<_>>();
        assert_eq!(
            rule(libc::SYS_bind)[..].iter().map(|rule| rule.otherwise).collect::<Vec<_>>(),
            [Verdict::Errno(13)]
        );
        let sendto = rule(libc::SYS_sendto);
        assert_eq!((sendto.len(), &sendto[0].cases[0]), (1, &(flags, Verdict::Errno(1))));
        assert_eq!(sendto[0].cases[1].1, Verdict::Notify);
        assert_eq!(rule(libc::SYS_connect)[0].otherwise, Verdict::Notify);
    }
}
