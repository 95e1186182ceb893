//! A process's own title: the keeper is a fork of the supervisor and must not look like it, or a
//! `pkill -9 -f` for the supervisor takes the keeper along.

#![expect(unsafe_code, reason = "writes to the argument area that the kernel set up")]

use rustix::process::getpid;

/// Replaces name and command line of this process, as far as there is room.
pub(crate) fn set(title: &str) {
    if let Ok(name) = std::ffi::CString::new(title) {
        // Cosmetic: where it fails the old name stays.
        let _ = rustix::thread::set_name(&name);
    }
    let Some((start, end)) = argument_area() else { return };
    // SAFETY: the kernel reports [start, end) as this process's argument strings, on its own writable stack
    // (proc_pid_stat(5), arg_start and arg_end). After the fork nobody else writes or reads them here: the
    // arguments were parsed into copies before.
    let area = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, end - start) };
    let keep = area.len().saturating_sub(1).min(title.len());
    area.fill(0);
    area[..keep].copy_from_slice(&title.as_bytes()[..keep]);
}

fn argument_area() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", getpid().as_raw_nonzero())).ok()?;
    let after = stat.rfind(')')? + 2;
    let mut fields = stat.get(after..)?.split_ascii_whitespace();
    // Field 48 is arg_start, 49 arg_end; field 3 comes first here.
    let start: usize = fields.nth(45)?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    (start != 0 && end > start && end - start < 1 << 22).then_some((start, end))
}
