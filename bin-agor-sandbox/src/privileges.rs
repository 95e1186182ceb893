//! Capabilities and no_new_privs: as root this is what makes the rest hold.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// What could be done, and why not the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Why the capabilities are still there, if they are.
    pub capabilities: Option<String>,
    /// Whether the bounding set is empty too. It takes CAP_SETPCAP, which a plain user has only in a user
    /// namespace of its own; with no_new_privs nothing can be gained from it.
    pub bounding: bool,
    /// Why no_new_privs is not set, if it is not.
    pub no_new_privs: Option<String>,
}

/// Drops every capability in every set and forbids gaining any by `execve`.
pub(crate) fn drop_all() -> Dropped {
    let (capabilities, bounding) = match drop_capabilities() {
        Ok(bounding) => (None, bounding),
        Err(error) => (Some(error.to_string()), false),
    };
    let no_new_privs = set_no_new_privs(true).err().map(|error| error.to_string());
    Dropped { capabilities, bounding, no_new_privs }
}

/// Does something without what lets root pass by file permissions, as COMMAND will have to.
pub(crate) fn with_file_permissions(act: impl FnOnce()) {
    let passing = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let had = capabilities(None).ok().filter(|sets| sets.effective.intersects(passing));
    let put = |sets| _ = set_capabilities(None, sets);
    if let Some(sets) = had {
        put(CapabilitySets { effective: sets.effective - passing, ..sets });
    }
    act();
    if let Some(sets) = had {
        put(sets);
    }
}

fn drop_capabilities() -> rustix::io::Result<bool> {
    let now = capabilities(None)?;
    let mut bounding = false;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        bounding = true;
        // Until the kernel knows no more: they are numbered without gaps.
        for number in 0..64 {
            match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
                Ok(()) => {}
                Err(rustix::io::Errno::INVAL) if number > 0 => break,
                Err(_) => {
                    bounding = false;
                    break;
                }
            }
        }
    }
    let empty = CapabilitySet::empty();
    if now.permitted != empty || now.inheritable != empty || now.effective != empty {
        // Ambient capabilities go with the permitted ones (capabilities(7)).
        set_capabilities(None, CapabilitySets { effective: empty, permitted: empty, inheritable: empty })?;
    }
    Ok(bounding)
}
