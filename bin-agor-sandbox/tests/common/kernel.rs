//! Other kernels, played: a filter in front of the program answers its Landlock calls.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "test helpers, of which each binary uses a part"
)]
#![expect(unsafe_code, reason = "seccomp(2), its ioctls, and what runs between fork and exec")]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

fn install(calls: &[i64], action: u32, flags: libc::c_ulong) -> io::Result<i64> {
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    // On the stack: nothing may be allocated between fork and exec.
    let mut program = [statement(RETURN, libc::SECCOMP_RET_ALLOW); 16];
    program[0] = statement(LOAD, 0);
    for (at, call) in calls.iter().enumerate() {
        program[1 + 2 * at] = libc::sock_filter { code: JUMP_EQUAL, jt: 0, jf: 1, k: *call as u32 };
        program[2 + 2 * at] = statement(RETURN, action);
    }
    let filter = libc::sock_fprog { len: 2 + 2 * calls.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the calls, and prctl takes numbers.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_seccomp, 1, flags, &raw const filter)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

const LANDLOCK: [i64; 3] =
    [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

/// Makes calls of the command fail with `errno`.
pub fn fail(command: &mut Command, calls: &'static [i64], errno: i32) {
    // SAFETY: only system calls and the stack.
    unsafe {
        command.pre_exec(move || install(calls, libc::SECCOMP_RET_ERRNO | errno as u32, 0).map(drop));
    }
}

/// Makes all of Landlock fail with `errno`.
pub fn without_landlock(command: &mut Command, errno: i32) {
    fail(command, &LANDLOCK, errno);
}

/// What the command asked the played kernel for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub fs: u64,
    pub net: u64,
    pub scoped: u64,
    pub log_flags: u64,
}

fn memory(pid: u32, address: u64, buffer: &mut [u8], write: bool) {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: the local part is the buffer; the kernel checks the other.
    let done = unsafe {
        if write {
            libc::process_vm_writev(pid as i32, &raw const local, 1, &raw const remote, 1, 0)
        } else {
            libc::process_vm_readv(pid as i32, &raw const local, 1, &raw const remote, 1, 0)
        }
    };
    assert_eq!(done, buffer.len() as isize, "{}", io::Error::last_os_error());
}

/// Runs the command on a kernel whose Landlock has ABI `abi`; `real` is that of this kernel, whose rights are
/// the only ones that get through.
pub fn with_abi(command: &mut Command, abi: u32, real: u32) -> (std::process::Output, Asked) {
    let mut pair: [RawFd; 2] = [0; 2];
    // SAFETY: the array has room for two.
    let made = unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, pair.as_mut_ptr())
    };
    assert_eq!(made, 0);
    let theirs = pair[1];
    // SAFETY: only system calls and the stack. Whose listener it is and its number are told, and the parent takes a
    // copy: what is sent as SCM_RIGHTS needs more than may be used here.
    unsafe {
        command.pre_exec(move || {
            let listener = install(&LANDLOCK, libc::SECCOMP_RET_USER_NOTIF, 1 << 3)? as i32;
            let told = [libc::getpid(), listener];
            libc::write(theirs, told.as_ptr().cast(), 8);
            let mut go = 0_u8;
            libc::read(theirs, (&raw mut go).cast(), 1);
            libc::close(listener);
            Ok(())
        });
    }
    // `spawn` comes back only after exec, and the child waits before it for the listener to be taken.
    let ours = pair[0];
    let taker = std::thread::spawn(move || take(ours));
    let child: Child = command.spawn().unwrap();
    let listener = taker.join().unwrap();
    // SAFETY: both are ours and not used any more.
    unsafe {
        libc::close(pair[0]);
        libc::close(pair[1]);
    }
    let answers = std::thread::spawn(move || answer(&listener, abi, real));
    let output = child.wait_with_output().unwrap();
    (output, answers.join().unwrap())
}

fn take(socket: RawFd) -> OwnedFd {
    let mut told = [0_i32; 2];
    // SAFETY: the buffers outlive the calls. The child waits for the answer, so that its number is its own.
    unsafe {
        assert_eq!(libc::read(socket, told.as_mut_ptr().cast(), 8), 8);
        let pidfd = libc::syscall(libc::SYS_pidfd_open, told[0], 0);
        let fd = libc::syscall(libc::SYS_pidfd_getfd, pidfd, told[1], 0);
        assert!(fd >= 0, "no listener: {}", io::Error::last_os_error());
        libc::close(pidfd as i32);
        assert_eq!(libc::write(socket, [1_u8].as_ptr().cast(), 1), 1);
        OwnedFd::from_raw_fd(fd as i32)
    }
}

/// Bits of the first `abi` versions: (fs, net, scoped).
pub fn known(abi: u32) -> (u64, u64, u64) {
    let fs = match abi {
        0 => 0,
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        5..=8 => (1 << 16) - 1,
        _ => (1 << 17) - 1,
    };
    let net = match abi {
        0..=3 => 0,
        4..=9 => 3,
        _ => 15,
    };
    (fs, net, if abi >= 6 { 3 } else { 0 })
}

fn answer(listener: &OwnedFd, abi: u32, real: u32) -> Asked {
    let mut asked = Asked::default();
    loop {
        // SAFETY: plain data, as the kernel asks for; the ioctls get pointers that outlive them.
        unsafe {
            let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            libc::poll(&raw mut poll, 1, -1);
            if poll.revents & libc::POLLIN == 0 {
                return asked;
            }
            let mut request: libc::seccomp_notif = std::mem::zeroed();
            if libc::ioctl(listener.as_raw_fd(), 0xc050_2100_u64 as _, &raw mut request) != 0 {
                continue;
            }
            let args = request.data.args;
            let mut response = libc::seccomp_notif_resp { id: request.id, val: 0, error: 0, flags: 1 };
            match i64::from(request.data.nr) {
                libc::SYS_landlock_create_ruleset if args[2] == 1 => {
                    response.val = i64::from(abi);
                    response.flags = 0;
                }
                libc::SYS_landlock_create_ruleset if args[2] == 0 => {
                    let mut attributes = [0_u8; 24];
                    memory(request.pid, args[0], &mut attributes, false);
                    let word = |at: usize| u64::from_ne_bytes(attributes[at..at + 8].try_into().unwrap());
                    (asked.fs, asked.net, asked.scoped) = (word(0), word(8), word(16));
                    let (fs, net, scoped) = known(real);
                    let words = [asked.fs & fs, asked.net & net, asked.scoped & scoped];
                    let mut masked: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
                    memory(request.pid, args[0], &mut masked, true);
                }
                libc::SYS_landlock_add_rule => {
                    let mut access = [0_u8; 8];
                    memory(request.pid, args[2], &mut access, false);
                    let (fs, net, _) = known(real);
                    let mask = if args[1] == 1 { fs } else { net };
                    let left = u64::from_ne_bytes(access) & mask;
                    if left == 0 {
                        response.flags = 0;
                    } else {
                        memory(request.pid, args[2], &mut left.to_ne_bytes(), true);
                    }
                }
                libc::SYS_landlock_restrict_self => asked.log_flags = args[1],
                _ => {}
            }
            libc::ioctl(listener.as_raw_fd(), 0xc018_2101_u64 as _, &raw const response);
        }
    }
}
