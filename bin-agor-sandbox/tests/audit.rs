//! The kernel's own records in `--explain-denials`. Takes root; auditing is switched on for the test where it is
//! off, and off again at its end.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::os::fd::OwnedFd;

use common::{Sandbox, landlock_abi, ran, skip};
use rustix::net::netlink::{AUDIT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Auditing is on as long as this is there.
struct Auditing {
    socket: OwnedFd,
    was: u32,
}

fn ask(socket: &OwnedFd, kind: u16, data: &[u32]) -> Option<Vec<u32>> {
    // struct nlmsghdr with NLM_F_REQUEST and NLM_F_ACK.
    let length = 16 + 4 * data.len() as u32;
    let head = [length, u32::from(kind) | (5 << 16), 1, 0];
    let message: Vec<u8> = head.iter().chain(data).flat_map(|word| word.to_ne_bytes()).collect();
    rustix::net::send(socket, &message, SendFlags::empty()).ok()?;
    let mut answer = None;
    let mut buffer = [0_u8; 1024];
    // The acknowledgement, and what was asked for, in any order.
    for _ in 0..if data.is_empty() { 2 } else { 1 } {
        let (length, _) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty()).ok()?;
        let words: Vec<u32> = buffer[..length]
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        match words[1] & 0xffff {
            // NLMSG_ERROR: zero is success.
            2 if words[4] != 0 => return None,
            2 => {}
            _ => answer = Some(words[4..].to_vec()),
        }
    }
    answer.or_else(|| Some(Vec::new()))
}

impl Auditing {
    fn on() -> Option<Auditing> {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(AUDIT)).ok()?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0)).ok()?;
        let was = *ask(&socket, 1000, &[])?.get(1)?;
        let auditing = Auditing { socket, was };
        if was == 0 {
            auditing.set(1)?;
        }
        Some(auditing)
    }

    fn set(&self, on: u32) -> Option<()> {
        ask(&self.socket, 1001, &[1, on, 0, 0, 0, 0, 0, 0, 0, 0]).map(drop)
    }
}

impl Drop for Auditing {
    fn drop(&mut self) {
        if self.was == 0 {
            self.set(0).unwrap();
        }
    }
}

#[test]
fn denials_that_only_the_kernel_sees_are_explained() {
    if landlock_abi() < 7 {
        return skip("the kernel makes no records: Landlock ABI 7 is needed");
    }
    let sandbox = Sandbox::new();
    sandbox.file("out/f", "x");
    let outside = std::process::id();
    let script = format!("kill -0 {outside}; cat ../out/f");
    let run = || ran(sandbox.command().args(["--explain-denials", "--", "sh", "-c", &script]));
    let signal = format!("denied: signal process {outside}: it is outside");
    let read = format!("denied: read {}: --ro ", sandbox.path("out/f").canonicalize().unwrap().display());
    {
        let Some(_auditing) = Auditing::on() else {
            return skip("auditing cannot be switched on here (not root, or not in this kernel)");
        };
        let ran = run();
        assert!(ran.stderr.contains(&signal), "{ran:?}");
        // Seen twice, said once.
        assert_eq!(ran.stderr.matches(&read).count(), 1, "{ran:?}");
        assert_eq!(ran.stderr.matches("denied: ").count(), 2, "{ran:?}");
        // Nobody else's.
        let ran = self::ran(sandbox.command().args(["--explain-denials", "--", "true"]));
        assert!(ran.stderr.contains("nothing was denied"), "{ran:?}");
    }
    // Where there are no records, the rest is still said.
    let ran = run();
    assert!(ran.stderr.contains(&read), "{ran:?}");
}
