//! System calls that need `unsafe`; the only place in this crate where it is allowed.

#[cfg(feature = "sqlite")]
pub(crate) mod file_lock;
#[cfg(feature = "telemetry")]
pub(crate) mod signals;
