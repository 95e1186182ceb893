//! seccomp user notification: being asked about another process's system calls (seccomp_unotify(2)).
#![expect(unsafe_code, reason = "seccomp(2), its ioctls and process_vm_readv(2) have no safe wrapper")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use seccompiler::sock_filter;

const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
const FLAG_WAIT_KILLABLE: libc::c_ulong = 1 << 5;

const IOCTL_RECV: libc::c_ulong = 0xc050_2100;
const IOCTL_SEND: libc::c_ulong = 0xc018_2101;
const IOCTL_ID_VALID: libc::c_ulong = 0x4008_2102;
const IOCTL_SET_FLAGS: libc::c_ulong = 0x4008_2104;
/// The asked process and the answering one run on the same CPU, one after the other (Linux 6.6).
const SYNC_WAKE_UP: u64 = 1;

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    id: u64,
    /// The thread that makes it, as this process numbers it.
    pub(crate) pid: i32,
    /// The system call's number.
    pub(crate) number: i64,
    /// Its arguments.
    pub(crate) args: [u64; 6],
}

/// Installs a filter with a listener on this thread. Needs no_new_privs.
pub(crate) fn install(program: &[sock_filter]) -> io::Result<OwnedFd> {
    let filter = super::kernel::filter(program)?;
    let mut last = io::Error::from(io::ErrorKind::Unsupported);
    for flags in [FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE, FLAG_NEW_LISTENER] {
        // SAFETY: sock_filter has the layout of the kernel's, the array outlives the call, and the kernel
        // only reads it.
        let fd =
            unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
        if let Ok(fd) = i32::try_from(fd)
            && fd >= 0
        {
            // SAFETY: the kernel just made it, nobody else has it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        last = io::Error::last_os_error();
        if last.raw_os_error() != Some(libc::EINVAL) {
            break;
        }
    }
    Err(last)
}

/// Asks for synchronous wake-ups; kernels before 6.6 do not know them and are only slower.
pub(crate) fn wake_synchronously(listener: &OwnedFd) {
    // SAFETY: the flags are passed by value.
    unsafe {
        libc::ioctl(listener.as_raw_fd(), IOCTL_SET_FLAGS as _, SYNC_WAKE_UP);
    }
}

/// Takes the next call. `None` when it is gone already (killed, or interrupted by a signal).
pub(crate) fn receive(listener: &OwnedFd) -> io::Result<Option<Call>> {
    // SAFETY: all zeroes are valid for this plain structure, and the kernel asks for that.
    let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_RECV as _, &raw mut request) };
    if result != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        };
    }
    Ok(Some(Call {
        id: request.id,
        pid: request.pid as i32,
        number: i64::from(request.data.nr),
        args: request.data.args,
    }))
}

/// Lets the call go on, or fails it with an errno.
pub(crate) fn answer(listener: &OwnedFd, call: &Call, errno: Option<i32>) {
    let response = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error: errno.map_or(0, |errno| -errno),
        flags: if errno.is_none() { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 } else { 0 },
    };
    // SAFETY: the structure outlives the call. It fails when the process is gone: then nobody waits.
    unsafe {
        libc::ioctl(listener.as_raw_fd(), IOCTL_SEND as _, &raw const response);
    }
}

/// Whether the call still waits: what was read of the process until now was its own.
pub(crate) fn is_valid(listener: &OwnedFd, call: &Call) -> bool {
    // SAFETY: the number outlives the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), IOCTL_ID_VALID as _, &raw const call.id) == 0 }
}

/// Reads up to `buffer.len()` bytes at `address` of a process; stops at a page that is not there.
pub(crate) fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> usize {
    let mut done = 0;
    while done < buffer.len() {
        let at = address + done as u64;
        // Page by page: a string may end right before one that is not mapped.
        let page = 4096 - (at % 4096) as usize;
        let length = page.min(buffer.len() - done);
        let local = libc::iovec { iov_base: buffer[done..].as_mut_ptr().cast(), iov_len: length };
        let remote = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: length };
        // SAFETY: the local part lies in the buffer; the kernel checks the remote one.
        let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        match usize::try_from(got) {
            Ok(got) if got > 0 => done += got,
            _ => break,
        }
        if buffer[..done].contains(&0) && length == page {
            break;
        }
    }
    done
}

/// Marks the one `sendmsg` that is made before anybody answers; it means nothing on a Unix socket.
pub(crate) const HAND_OVER: SendFlags = SendFlags::CONFIRM;

/// Sends a descriptor over a socket pair.
pub(crate) fn send_fd(socket: &OwnedFd, fd: &OwnedFd) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let data = [io::IoSlice::new(b"l")];
    rustix::net::sendmsg(socket, &data, &mut ancillary, HAND_OVER)?;
    Ok(())
}

/// Receives one; `None` when the other side closed without sending any.
pub(crate) fn receive_fd(socket: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8; 1];
    let mut data = [io::IoSliceMut::new(&mut byte)];
    let flags = rustix::net::RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(socket, &mut data, &mut ancillary, flags)?;
    let fds = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(fds)
}
