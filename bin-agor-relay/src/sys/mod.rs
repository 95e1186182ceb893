//! System calls that have no safe wrapper elsewhere: the only place where `unsafe` is allowed.

pub(crate) mod fds;
pub(crate) mod poll;
pub(crate) mod pty;
pub(crate) mod socket;
