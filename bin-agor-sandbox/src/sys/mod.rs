//! System calls: the only place with `unsafe`.

mod alloc;
pub(crate) mod exec;
pub(crate) mod inherit;
pub(crate) mod kernel;
pub(crate) mod mount;
pub(crate) mod notify;
pub(crate) mod path;
pub(crate) mod process;
pub(crate) mod variables;
