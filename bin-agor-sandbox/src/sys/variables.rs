//! The environment as the kernel handed it over: `NAME=VALUE` strings, read where they are. The standard
//! library copies each variable at each look, which was a fifth of what a start of this program computed.
#![expect(unsafe_code, reason = "environ(7) is an array of pointers")]

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt as _;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// All of them, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    entries: Vec<&'static CStr>,
}

impl Variables {
    /// Those of this process. Nothing in this program changes its own environment, so they stay where they are.
    pub(crate) fn current() -> Variables {
        // SAFETY: the C library set the pointer before `main`, and nobody changes it.
        let first = unsafe { environ };
        let mut count = 0;
        // SAFETY: the array may be absent (null); else it ends with a null pointer, and nothing is read beyond.
        while unsafe { !first.is_null() && !(*first.add(count)).is_null() } {
            count += 1;
        }
        // SAFETY: as above; and the pointers lead to strings that end with NUL and are never freed.
        Variables { entries: (0..count).map(|at| unsafe { CStr::from_ptr(*first.add(at)) }).collect() }
    }

    /// As `NAME=VALUE`.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &'static CStr> {
        self.entries.iter().copied()
    }

    /// The value of the first variable of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'static OsStr> {
        for entry in &self.entries {
            let (entry, name) = (entry.to_bytes(), name.as_bytes());
            // Most differ in the first letter already.
            if entry.first() == name.first()
                && let Some(rest) = entry.strip_prefix(name)
                && let Some(value) = rest.strip_prefix(b"=")
            {
                return Some(OsStr::from_bytes(value));
            }
        }
        None
    }
}

/// A variable's name and value; `None` for an entry without `=`, which is no variable. A name may begin with
/// `=`, as in the standard library.
pub(crate) fn split(entry: &CStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = entry.to_bytes();
    let mut at = 1;
    while *bytes.get(at)? != b'=' {
        at += 1;
    }
    Some((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_the_standard_library_says() {
        let variables = Variables::current();
        let ours: Vec<_> = variables.entries().filter_map(split).collect();
        let theirs: Vec<_> = std::env::vars_os().collect();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(*ours, (theirs.0.as_os_str(), theirs.1.as_os_str()));
        }
        assert_eq!(variables.get("PATH").map(OsStr::to_owned), std::env::var_os("PATH"));
        assert_eq!(variables.get("PAT"), None);
        assert_eq!(split(c"=C=x"), Some((OsStr::new("=C"), OsStr::new("x"))));
        assert_eq!(split(c"nothing"), None);
    }
}
