//! What a grant allows, in the words of the command line.

use std::fmt;

/// A set of rights on a path: reading is always in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Write, create, remove, truncate, rename.
    pub write: bool,
    /// Execute.
    pub execute: bool,
}

impl Rights {
    /// `--ro`
    pub const RO: Rights = Rights { write: false, execute: false };
    /// `--rox`
    pub const ROX: Rights = Rights { write: false, execute: true };
    /// `--rw`
    pub const RW: Rights = Rights { write: true, execute: false };
    /// `--rwx`
    pub const RWX: Rights = Rights { write: true, execute: true };

    /// The option that grants it.
    pub fn option(self) -> &'static str {
        match (self.write, self.execute) {
            (false, false) => "--ro",
            (false, true) => "--rox",
            (true, false) => "--rw",
            (true, true) => "--rwx",
        }
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Rights) -> bool {
        (self.write || !other.write) && (self.execute || !other.execute)
    }

    /// Both together.
    pub fn union(self, other: Rights) -> Rights {
        Rights { write: self.write || other.write, execute: self.execute || other.execute }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.write, self.execute) {
            (false, false) => "read",
            (false, true) => "read execute",
            (true, false) => "read write",
            (true, true) => "read write execute",
        })
    }
}
