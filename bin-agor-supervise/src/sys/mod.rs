//! System calls: the only place where `unsafe` is allowed.

pub(crate) mod fork;
pub(crate) mod inherited;
pub(crate) mod memory;
pub(crate) mod signals;
pub(crate) mod spawn;
pub(crate) mod title;
pub(crate) mod wait;
