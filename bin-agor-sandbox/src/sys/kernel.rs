//! Asking the kernel what it has.
#![expect(
    unsafe_code,
    reason = "landlock_create_ruleset(2) and seccomp(2) have no safe wrapper that keeps the errno"
)]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use seccompiler::sock_filter;

const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
const LANDLOCK_CREATE_RULESET_ERRATA: u32 = 2;

fn landlock_query(flags: u32) -> io::Result<u32> {
    // SAFETY: with one of the query flags the attribute must be null and its size 0.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, flags) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Landlock's ABI version, or why there is none: ENOSYS, EOPNOTSUPP, or EPERM from a container's filter.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    landlock_query(LANDLOCK_CREATE_RULESET_VERSION)
}

/// `struct landlock_path_beneath_attr` (linux/landlock.h).
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// Adds a rule for what is at and below `path`. EINVAL when that is no directory and `access` holds a right
/// that only directories have.
pub(crate) fn landlock_allow(ruleset: &OwnedFd, path: &OwnedFd, access: u64) -> io::Result<()> {
    const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;
    let rule = PathBeneath { allowed_access: access, parent_fd: path.as_raw_fd() };
    // SAFETY: the attribute is of the type that the rule's number names, and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const rule,
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Restricts this thread for good; needs no_new_privs. From ABI 7 on, `log` has denials after the next
/// `execve` in the audit log too.
pub(crate) fn landlock_restrict_self(ruleset: &OwnedFd, log: bool) -> io::Result<()> {
    const LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON: u32 = 1 << 1;
    let flags = if log { LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON } else { 0 };
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The bit set of fixed errata; `None` on kernels that do not say.
pub(crate) fn landlock_errata() -> Option<u32> {
    landlock_query(LANDLOCK_CREATE_RULESET_ERRATA).ok()
}

/// Whether seccomp knows an action (`SECCOMP_GET_ACTION_AVAIL`).
pub(crate) fn seccomp_has(action: u32) -> io::Result<()> {
    const SECCOMP_GET_ACTION_AVAIL: u32 = 2;
    // SAFETY: the pointer is to a number that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A filter as the kernel takes it; good as long as `program` is.
pub(super) fn filter(program: &[sock_filter]) -> io::Result<libc::sock_fprog> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() })
}

/// Installs a filter on this thread for good. Needs no_new_privs.
pub(crate) fn seccomp_install(program: &[sock_filter]) -> io::Result<()> {
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    let filter = filter(program)?;
    // SAFETY: sock_filter has the layout of the kernel's, the array outlives the call, and the kernel only
    // reads it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
