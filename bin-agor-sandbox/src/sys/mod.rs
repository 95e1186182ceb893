//! System calls: the only place with `unsafe`.

pub(crate) mod exec;
pub(crate) mod inherit;
pub(crate) mod kernel;
pub(crate) mod mount;
pub(crate) mod process;
