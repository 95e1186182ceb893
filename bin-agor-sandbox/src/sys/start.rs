//! What the C library calls. Rust's own start in between would prepare for threads, deep stacks and broken
//! pipes with fifteen system calls and a stack for signals: all of it for COMMAND's process, which wants none.
#![expect(unsafe_code, reason = "the name that the C library calls, and its array of arguments")]

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;

#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    let args = (0..usize::try_from(count).unwrap_or_default()).map(|at| {
        // SAFETY: the C library hands over `count` pointers to strings that end with NUL and are never freed.
        let word = unsafe { CStr::from_ptr(*words.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    c_int::from(agor_sandbox::main(args.collect()))
}
