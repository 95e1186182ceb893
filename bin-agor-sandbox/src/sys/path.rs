//! realpath(3) into a buffer of our own: the C library's allocator maps and unmaps memory for every result.
#![expect(unsafe_code, reason = "realpath(3) takes pointers")]

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

const SIZE: usize = libc::PATH_MAX as usize;

/// The path without links, as [`std::fs::canonicalize`] gives it.
pub(crate) fn real(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = CString::new(path.as_ref().as_os_str().as_bytes())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut buffer = [MaybeUninit::<libc::c_char>::uninit(); SIZE];
    // SAFETY: the string ends with NUL, and the buffer has the PATH_MAX bytes that realpath(3) asks for.
    let found = unsafe { libc::realpath(path.as_ptr(), buffer.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success it points to the buffer, which holds a string that ends with NUL.
    let found = unsafe { CStr::from_ptr(found) };
    Ok(PathBuf::from(OsStr::from_bytes(found.to_bytes())))
}

/// Opens a regular file for reading, and nothing else: COMMAND may have left a FIFO or a link to a device there,
/// and this must not wait.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_file() {
        Ok(File::from(file))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// What the `#!` line of a script names.
pub(crate) fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut head = [0_u8; 256];
    let length = regular(script).ok()?.read(&mut head).ok()?;
    let line = head[..length].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = line.trim_ascii_start().split(u8::is_ascii_whitespace).next()?;
    (!word.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_canonicalize_says() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("up")).unwrap();
        for path in
            [dir.path().join("up"), dir.path().join("up/."), "/".into(), "/proc/self".into(), "".into()]
        {
            assert_eq!(real(&path).ok(), std::fs::canonicalize(&path).ok(), "{path:?}");
        }
        let missing = real(dir.path().join("no")).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
        let long = PathBuf::from("/".to_owned() + &"a/".repeat(3000));
        assert!(real(long).is_err());
    }
}
