//! Landlock: every right that the running kernel's ABI has, through the `landlock` crate.
//!
//! The ABI is asked for, never concluded from the kernel's version. What an ABI lacks is named in
//! [`Status::dropped`], together with the layer that stands in for it.

use std::io;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};

use crate::base;
use crate::error::Error;
use crate::host::within;
use crate::plan::{Plan, open_path};
use crate::policy::{Grant, Origin, Policy};
use crate::profile::{NetMode, UnixMode};
use crate::rights::Rights;
use crate::status::{Dropped, State, Status};
use crate::sys::kernel;

/// What the kernel says about Landlock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// Its ABI, as the kernel says it.
    Abi(u32),
    /// None, with the reason and what helps.
    None {
        /// Why.
        why: String,
        /// What helps.
        help: &'static str,
    },
}

/// Asks the kernel.
pub fn support() -> Support {
    match kernel::landlock_abi() {
        Ok(abi) if abi >= 1 => Support::Abi(abi),
        Ok(_) => Support::None { why: "the kernel reports ABI 0".into(), help: "upgrade the kernel" },
        Err(error) => {
            let (why, help) = match error.raw_os_error() {
                Some(libc::ENOSYS) => (
                    "not in this kernel (ENOSYS)",
                    "Landlock needs Linux 5.13 built with CONFIG_SECURITY_LANDLOCK=y",
                ),
                Some(libc::EOPNOTSUPP) => (
                    "disabled at boot (EOPNOTSUPP)",
                    "add landlock to the lsm= list of the kernel's command line, for example lsm=landlock,lockdown,yama",
                ),
                Some(libc::EPERM) => (
                    "blocked, most likely by a container's seccomp profile (EPERM)",
                    "allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self in that profile",
                ),
                Some(libc::EINVAL) => (
                    "the kernel does not understand the question (EINVAL)",
                    "a filter or an emulated kernel stands between; run outside of it",
                ),
                _ => ("the kernel refuses to say", "see agor-sandbox doctor"),
            };
            let why = match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM | libc::EINVAL) => why.to_owned(),
                _ => format!("{why}: {error}"),
            };
            Support::None { why, help }
        }
    }
}

/// The ABI as the crate knows it: a newer kernel counts as the newest known one.
fn known(abi: u32) -> ABI {
    match abi {
        0 => ABI::Unsupported,
        1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        6 => ABI::V6,
        7 => ABI::V7,
        8 => ABI::V8,
        9 => ABI::V9,
        _ => ABI::V10,
    }
}

/// Features by the ABI that brought them (kernel documentation, userspace-api/landlock, "Previous
/// limitations"). ABI 8 only adds enforcement on all threads, and there is one thread here.
const FEATURES: [(&str, u32); 9] = [
    ("refer", 2),
    ("truncate", 3),
    ("tcp", 4),
    ("ioctl_dev", 5),
    ("scope_abstract_unix", 6),
    ("scope_signal", 6),
    ("log", 7),
    ("resolve_unix", 9),
    ("udp", 10),
];

/// Fills in what `abi` lacks, and the layers `files`, `tcp` and `scopes` as they will hold with it.
/// `hidden_sockets` is whether the mount layer hides other programs' sockets.
pub fn judge(plan: &Plan, abi: u32, hidden_sockets: bool, status: &mut Status) {
    let net = plan.policy.net.mode;
    let unix = plan.policy.unix.mode;
    status.landlock_abi = abi;
    for (feature, since_abi) in FEATURES.into_iter().filter(|(_, since)| abi < *since) {
        let (needed, covered_by) = match feature {
            // Without it every rename into another directory is refused: stricter, and in the way.
            "refer" | "truncate" | "ioctl_dev" | "scope_signal" => (true, None),
            "tcp" => (net != NetMode::All, (net == NetMode::None).then_some("seccomp")),
            "scope_abstract_unix" => (unix != UnixMode::All, (unix == UnixMode::None).then_some("seccomp")),
            "resolve_unix" => match unix {
                UnixMode::All => (false, None),
                UnixMode::None => (true, Some("seccomp")),
                UnixMode::Listed => (true, hidden_sockets.then_some("mounts")),
            },
            "udp" => (net != NetMode::All, (net != NetMode::All).then_some("seccomp")),
            _ => (false, None),
        };
        status.dropped.push(Dropped { feature, since_abi, covered_by, needed });
    }
    let lacking = |names: &[&str]| -> Option<String> {
        let missing: Vec<&str> = status
            .dropped
            .iter()
            .filter(|dropped| {
                dropped.needed && dropped.covered_by.is_none() && names.contains(&dropped.feature)
            })
            .map(|dropped| dropped.feature)
            .collect();
        (!missing.is_empty()).then(|| format!("ABI {abi} has no {}", missing.join(", ")))
    };
    let files = lacking(&["refer", "truncate", "ioctl_dev"]);
    let tcp = lacking(&["tcp"]);
    let scopes = lacking(&["scope_signal", "scope_abstract_unix"]);
    let state = |why: &Option<String>| if why.is_some() { State::Degraded } else { State::Enforced };
    let layer = status.add("files", state(&files), files);
    layer
        .limits
        .push("metadata of paths outside (stat, and for an owner chmod, utime, setxattr) is not covered");
    match net {
        NetMode::All => status.add("tcp", State::Off, Some("all".into())),
        NetMode::None => status.add("tcp", State::Enforced, Some("none".into())),
        NetMode::Ports if tcp.is_some() => status.add("tcp", State::Absent, tcp),
        // listen(2) on a socket that was never bound takes a port of the kernel's choice, and no hook of
        // Landlock sees it; without any --bind-tcp seccomp refuses listen as a whole.
        NetMode::Ports if !plan.policy.net.bind.is_empty() && !plan.policy.net.bind.contains(&0) => {
            let why =
                "listen without bind takes a port of the kernel's choice, as --bind-tcp 0 would grant it";
            status.add("tcp", State::Degraded, Some(why.into()))
        }
        NetMode::Ports => status.add("tcp", State::Enforced, None),
    };
    status.add("scopes", state(&scopes), scopes);
}

const BY_SECCOMP: &str = "none, by seccomp";

/// Takes back what was said of seccomp: there is no filter.
#[cold]
pub(crate) fn judge_unfiltered(status: &mut Status) {
    for dropped in status.dropped.iter_mut().filter(|dropped| dropped.covered_by == Some("seccomp")) {
        dropped.covered_by = None;
    }
    for layer in status.layers.iter_mut().filter(|layer| layer.why.as_deref() == Some(BY_SECCOMP)) {
        layer.state = State::Absent;
        layer.why = Some("no Landlock and no seccomp".to_owned());
    }
}

/// Takes back what [`judge`] said: the kernel refuses to restrict this process.
#[cold]
pub(crate) fn judge_refused(plan: &Plan, error: &io::Error, status: &mut Status) {
    let at = status.layers.iter().position(|layer| layer.name == "files").unwrap_or(status.layers.len());
    let after = status.layers.split_off((at + 3).min(status.layers.len()));
    status.layers.truncate(at);
    let why = format!(
        "Landlock refuses: {error}; it needs no_new_privs, and landlock_add_rule and landlock_restrict_self in a \
         container's seccomp profile"
    );
    status.add("files", State::Absent, Some(why));
    judge_without(plan, status);
    status.layers.extend(after);
}

/// The layers `tcp` and `scopes` without any Landlock.
pub fn judge_without(plan: &Plan, status: &mut Status) {
    let why = || Some("no Landlock".to_owned());
    match plan.policy.net.mode {
        NetMode::All => status.add("tcp", State::Off, Some("all".into())),
        NetMode::None => status.add("tcp", State::Enforced, Some(BY_SECCOMP.into())),
        NetMode::Ports => status.add("tcp", State::Absent, why()),
    };
    status.add("scopes", State::Absent, why());
}

fn access(grant: &Grant, abi: ABI) -> BitFlags<AccessFs> {
    let Rights { write, execute } = grant.rights;
    let mut access = AccessFs::ReadFile | AccessFs::ReadDir;
    if execute {
        access |= AccessFs::Execute;
    }
    if write {
        // Device nodes can be made by nobody.
        access |= AccessFs::from_write(abi) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
        // Only what the user names, and what is in /dev, may be a device.
        if grant.origin != Origin::Flag && !within(&grant.path, Path::new("/dev")) {
            access &= !BitFlags::from(AccessFs::IoctlDev);
        }
        if grant.without_sockets() {
            access &= !BitFlags::from(AccessFs::ResolveUnix);
        }
    }
    access & AccessFs::from_all(abi)
}

const WHAT: &str = "restrict files and network with Landlock";

fn failed(error: RulesetError) -> Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return refused(io::Error::from_raw_os_error(inner));
        }
        cause = inner.source();
    }
    Error::apply(WHAT, io::Error::other(error))
}

/// Nothing holds yet, so that COMMAND may run as on a kernel without Landlock, where a filter refuses these calls
/// or no_new_privs could not be set.
fn refused(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS) => Error::Refused { source: error },
        _ => Error::apply(WHAT, error),
    }
}

/// How many descriptors of granted paths wait for the end: closing one at a time costs more than all together.
const LEFT_OPEN: usize = 40;

/// Adds a rule; for a file, on which the kernel refuses the rights of directories, with those of `file`.
fn allow(
    rules: &OwnedFd,
    path: &OwnedFd,
    access: BitFlags<AccessFs>,
    file: BitFlags<AccessFs>,
) -> io::Result<()> {
    match kernel::landlock_allow(rules, path, access.bits()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !file.contains(access) => {
            kernel::landlock_allow(rules, path, (access & file).bits())
        }
        result => result,
    }
}

/// The ruleset with what does not hang on a path.
fn ruleset(
    policy: &Policy,
    abi: ABI,
    handled: BitFlags<AccessFs>,
    scopes: BitFlags<Scope>,
) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?;
    let net = AccessNet::from_all(abi);
    if policy.net.mode != NetMode::All && !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    if !scopes.is_empty() {
        ruleset = ruleset.scope(scopes)?;
    }
    let mut created = ruleset.create()?;
    if policy.net.mode == NetMode::Ports && abi >= ABI::V4 {
        for port in &policy.net.connect {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        for port in &policy.net.bind {
            created = created.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
        }
    }
    Ok(created)
}

/// Puts the layer up for the whole rest of this process's life. Needs no_new_privs.
/// Returns the options whose paths do not exist.
pub fn restrict(plan: &Plan, abi: u32) -> Result<Vec<String>, Error> {
    let abi = known(abi);
    let policy = &plan.policy;
    let mut handled = AccessFs::from_all(abi);
    let mut scopes = Scope::from_all(abi);
    if policy.unix.mode == UnixMode::All {
        handled &= !BitFlags::from(AccessFs::ResolveUnix);
        scopes &= !BitFlags::from(Scope::AbstractUnixSocket);
    }
    // The crate looks at each path (fstat) to leave out for a file what only directories have: with the kernel
    // asked first, most paths need no look. And it sets no_new_privs once more.
    let created: Option<OwnedFd> = ruleset(policy, abi, handled, scopes).map_err(failed)?.into();
    let Some(rules) = created else {
        return Err(Error::apply(WHAT, io::Error::from_raw_os_error(libc::EOPNOTSUPP)));
    };
    let file_rights = AccessFs::from_file(abi);
    let roomy = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .is_none_or(|most| most >= 4 * LEFT_OPEN as u64);
    let mut missing = Vec::new();
    for (number, grant) in plan.grants.iter().enumerate() {
        let unusable =
            |source| Error::Path { option: grant.rights.option().into(), path: grant.path.clone(), source };
        let fd = match open_path(&grant.path) {
            Ok(fd) => fd,
            Err(_) if !grant.origin.is_asked() => continue,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {
                    missing.push(format!("{} {}", grant.rights.option(), grant.path.display()));
                    continue;
                }
                _ if grant.origin == Origin::Flag => return Err(unusable(error)),
                _ => continue,
            },
        };
        let mut access = access(grant, abi) & handled;
        if base::is_device(grant) || plan.files.binary_search(&number).is_ok() {
            // Known to be no directory: the kernel need not refuse it first.
            access &= file_rights;
        }
        allow(&rules, &fd, access, file_rights).map_err(|error| match refused(error) {
            Error::Apply { source, .. } => unusable(source),
            error => error,
        })?;
        if roomy && number < LEFT_OPEN {
            // Closed with all others at once, right before COMMAND.
            let _ = fd.into_raw_fd();
        }
    }
    for path in policy.unix.paths.iter().filter(|_| policy.unix.mode == UnixMode::Listed) {
        match open_path(path) {
            Ok(fd) if handled.contains(AccessFs::ResolveUnix) => {
                kernel::landlock_allow(&rules, &fd, AccessFs::ResolveUnix as u64).map_err(refused)?;
            }
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                missing.push(format!("--unix {}", path.display()));
            }
            Err(_) => {}
        }
    }
    // ABI 7: the denials of COMMAND go to the audit log, not only those of this program.
    let restricted = kernel::landlock_restrict_self(&rules, abi >= ABI::V7);
    // Closed with all others, as above.
    let _ = rules.into_raw_fd();
    match restricted {
        Ok(()) => Ok(missing),
        Err(error) if error.raw_os_error() == Some(libc::E2BIG) => Err(Error::TooDeep),
        Err(error) => Err(refused(error)),
    }
}
