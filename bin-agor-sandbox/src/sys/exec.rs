//! Replacing this process, with the rules of execvp(3) and nothing else changed.
#![expect(unsafe_code, reason = "execve(2) takes arrays of pointers, and close_range(2)")]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// A string for the kernel. An argument cannot hold a NUL, so neither can what is made of arguments.
fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Arguments and environment, ready for the kernel.
pub(crate) struct Image {
    program: OsString,
    args: Vec<CString>,
    env: Vec<CString>,
    path: OsString,
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

impl Image {
    /// `command` is the program and its arguments; `PATH` is looked up in `env`, as env(1) does.
    pub(crate) fn new(command: &[OsString], env: &[(OsString, OsString)]) -> io::Result<Image> {
        let args = command.iter().map(|arg| c_string(arg.as_bytes())).collect::<io::Result<_>>()?;
        let mut out = Vec::with_capacity(env.len());
        for (name, value) in env {
            let mut entry = Vec::with_capacity(name.len() + value.len() + 2);
            entry.extend_from_slice(name.as_bytes());
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            out.push(c_string(&entry)?);
        }
        let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        Ok(Image {
            program: command.first().cloned().unwrap_or_default(),
            args,
            env: out,
            path: path.unwrap_or_else(|| "/bin:/usr/bin".into()),
        })
    }

    /// Executes it. Comes back only with an error, and with the path that it is about.
    pub(crate) fn exec(&self) -> (OsString, io::Error) {
        let args = pointers(&self.args);
        let env = pointers(&self.env);
        let program = self.program.as_bytes();
        if program.is_empty() {
            return (self.program.clone(), io::Error::from_raw_os_error(libc::ENOENT));
        }
        if program.contains(&b'/') {
            return (self.program.clone(), execve(program, &args, &env));
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
        denied.unwrap_or_else(|| (self.program.clone(), io::Error::from_raw_os_error(libc::ENOENT)))
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
