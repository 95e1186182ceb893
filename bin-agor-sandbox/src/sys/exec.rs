//! Replacing this process, with the rules of execvp(3) and nothing else changed.
#![expect(unsafe_code, reason = "execve(2) takes arrays of pointers, and close_range(2)")]

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::environment::Filtered;

/// A string for the kernel. An argument cannot hold a NUL, so neither can what is made of arguments.
fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Arguments and environment, ready for the kernel.
pub(crate) struct Image<'a> {
    program: &'a OsStr,
    args: Vec<CString>,
    env: &'a [Cow<'a, CStr>],
    path: &'a OsStr,
}

fn pointers(strings: &[impl AsRef<CStr>]) -> Vec<*const libc::c_char> {
    let mut pointers = Vec::with_capacity(strings.len() + 1);
    pointers.extend(strings.iter().map(|string| string.as_ref().as_ptr()));
    pointers.push(std::ptr::null());
    pointers
}

impl<'a> Image<'a> {
    /// `command` is the program and its arguments; `PATH` is looked up in `env`, as env(1) does.
    pub(crate) fn new(command: &'a [OsString], env: &'a Filtered<'a>) -> io::Result<Image<'a>> {
        Ok(Image {
            program: command.first().map(OsString::as_os_str).unwrap_or_default(),
            args: command.iter().map(|arg| c_string(arg.as_bytes())).collect::<io::Result<_>>()?,
            env: &env.kept,
            path: env.get("PATH").unwrap_or(OsStr::new("/bin:/usr/bin")),
        })
    }

    /// Executes it. Comes back only with an error, and with the path that it is about.
    pub(crate) fn exec(&self) -> (OsString, io::Error) {
        let args = pointers(&self.args);
        let env = pointers(self.env);
        let program = self.program.as_bytes();
        if program.is_empty() {
            return (self.program.to_owned(), io::Error::from_raw_os_error(libc::ENOENT));
        }
        if program.contains(&b'/') {
            return (self.program.to_owned(), execve(program, &args, &env));
        }
        let mut denied = None;
        for dir in self.path.as_bytes().split(|byte| *byte == b':') {
            let mut full = Vec::with_capacity(dir.len() + program.len() + 1);
            full.extend_from_slice(dir);
            if !dir.is_empty() {
                full.push(b'/');
            }
            full.extend_from_slice(program);
            let error = execve(&full, &args, &env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT) => {}
                Some(libc::EACCES) => {
                    denied.get_or_insert((OsString::from_vec(full), error));
                }
                _ => return (OsString::from_vec(full), error),
            }
        }
        denied.unwrap_or_else(|| (self.program.to_owned(), io::Error::from_raw_os_error(libc::ENOENT)))
    }
}

fn execve(path: &[u8], args: &[*const libc::c_char], env: &[*const libc::c_char]) -> io::Error {
    let path = match c_string(path) {
        Ok(path) => path,
        Err(error) => return error,
    };
    let error = raw(&path, args, env);
    if error.raw_os_error() != Some(libc::ENOEXEC) {
        return error;
    }
    // A file without #! is a shell script, as execvp(3) says.
    let mut shell = vec![c"/bin/sh".as_ptr(), path.as_ptr()];
    shell.extend_from_slice(args.get(1..).unwrap_or(&[std::ptr::null()]));
    raw(c"/bin/sh", &shell, env)
}

fn raw(path: &CStr, args: &[*const libc::c_char], env: &[*const libc::c_char]) -> io::Error {
    // SAFETY: both arrays end with a null pointer, all others point to strings that outlive the call.
    unsafe {
        libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr());
    }
    io::Error::last_os_error()
}

/// Closes every descriptor above 2 except `keep`, which must be sorted.
pub(crate) fn close_others(keep: &[i32]) -> io::Result<()> {
    let mut from = 3;
    for fd in keep.iter().copied().filter(|fd| *fd >= 3).chain([i32::MAX]) {
        if fd > from {
            close_range(from, if fd == i32::MAX { u32::MAX } else { fd as u32 - 1 })?;
        }
        from = fd.saturating_add(1);
    }
    Ok(())
}

fn close_range(from: i32, to: u32) -> io::Result<()> {
    // SAFETY: takes numbers only. The owners of these descriptors are gone or never run again: what follows
    // is execve or the end of the process.
    let result = unsafe { libc::syscall(libc::SYS_close_range, from as u32, to, 0) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::ENOSYS) {
        return Err(error);
    }
    // Before Linux 5.9.
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) {
            open.push(fd);
        }
    }
    for fd in open.into_iter().filter(|fd| *fd >= from && i64::from(*fd) <= i64::from(to)) {
        // SAFETY: as above.
        unsafe {
            libc::close(fd);
        }
    }
    Ok(())
}

/// Whether a path may be executed by this user as far as file permissions say; Landlock is not asked.
pub(crate) fn may_execute(path: &OsStr) -> bool {
    let Ok(path) = c_string(path.as_bytes()) else { return false };
    // SAFETY: the string ends with NUL and outlives the call.
    unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
}

/// The file that this process runs, without links in its path.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    // SAFETY: takes a number. What it gives is null or a string of the kernel's that lives as long as the process.
    let name = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if name.is_null() { c"" } else { CStr::from_ptr(name) }
    };
    // As it was started, where nothing in it is a link: the kernel takes ten times as long to say it itself.
    let plain = name.to_bytes().starts_with(b"/") && !name.to_bytes().windows(2).any(|two| two == b"..");
    if plain
        && rustix::fs::openat2(
            CWD,
            name,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS,
        )
        .is_ok()
    {
        return Ok(crate::host::tidy(PathBuf::from(OsStr::from_bytes(name.to_bytes()))));
    }
    std::fs::read_link("/proc/self/exe")
}
