//! Exit codes: what each number means, once for all tools.
//!
//! The numbers above 63 follow `sysexits.h`; 124 to 127 follow `timeout(1)`, `env(1)` and the shell.

use std::process::ExitCode;

/// An exit status with a meaning. A child's own status is passed through with [`Exit::child`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// Done; also when the reader of stdout went away.
    pub const OK: Exit = Exit(0);
    /// A negative answer: unhealthy, nothing to read, not found.
    pub const NEGATIVE: Exit = Exit(1);
    /// A usage error (the exec wrappers use [`Exit::WRAPPER`]).
    pub const USAGE: Exit = Exit(2);
    /// `EX_DATAERR`: the input is wrong or a file is not what it should be.
    pub const DATA: Exit = Exit(65);
    /// `EX_NOINPUT`: a named file does not exist.
    pub const NO_INPUT: Exit = Exit(66);
    /// `EX_NOUSER`: no such agent.
    pub const NO_AGENT: Exit = Exit(67);
    /// `EX_UNAVAILABLE`: the other side is not there now.
    pub const UNAVAILABLE: Exit = Exit(69);
    /// `EX_SOFTWARE`: a bug in this program.
    pub const INTERNAL: Exit = Exit(70);
    /// `EX_CANTCREAT`: a file or directory cannot be created.
    pub const CANT_CREATE: Exit = Exit(73);
    /// `EX_IOERR`: reading or writing failed (a full disk, for one).
    pub const IO: Exit = Exit(74);
    /// `EX_TEMPFAIL`: busy; try again later.
    pub const TRY_AGAIN: Exit = Exit(75);
    /// `EX_NOPERM`: not permitted.
    pub const PERMISSION: Exit = Exit(77);
    /// `EX_CONFIG`: a configuration error.
    pub const CONFIG: Exit = Exit(78);
    /// A deadline passed.
    pub const DEADLINE: Exit = Exit(124);
    /// An exec wrapper's own failure, usage errors included.
    pub const WRAPPER: Exit = Exit(125);
    /// The command was found but cannot be executed.
    pub const NOT_EXECUTABLE: Exit = Exit(126);
    /// The command was not found.
    pub const NOT_FOUND: Exit = Exit(127);

    /// A child's own exit status (0 to 255).
    pub const fn child(code: u8) -> Exit {
        Exit(code)
    }

    /// `128 + signal`, as a shell reports a death by signal; signal is 1 to 64.
    pub const fn signal(signal: u8) -> Exit {
        Exit(128u8.saturating_add(signal))
    }

    /// The number.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_offset_by_128() {
        assert_eq!(Exit::signal(9).code(), 137);
        assert_eq!(Exit::signal(15).code(), 143);
    }
}
