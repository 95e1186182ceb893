//! Asking the kernel what it has.
#![expect(
    unsafe_code,
    reason = "landlock_create_ruleset(2) and seccomp(2) have no safe wrapper that keeps the errno"
)]

use std::io;

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
