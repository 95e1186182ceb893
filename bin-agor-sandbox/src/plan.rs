//! The plan: the policy on this host, complete and in order. `explain` prints it, `run` executes it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::base;
use crate::error::Error;
use crate::host::{Host, within};
use crate::landlock::{self, Support};
use crate::mounts::{self, Mount};
use crate::policy::{Grant, Origin, Policy};
use crate::rights::Rights;
use crate::sys::{exec, path};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What was asked for.
    pub policy: Policy,
    /// One rule for each path.
    pub grants: Vec<Grant>,
    /// Those of [`Plan::grants`] that were seen to be no directories, by their places there: the kernel need not
    /// refuse the rights of directories first.
    pub files: Vec<usize>,
    /// What the private mount namespace changes, in order.
    pub mounts: Vec<Mount>,
    /// Whether other programs' sockets should be hidden among them and nobody knows where they are.
    pub blind: bool,
    /// What the kernel says about Landlock.
    pub landlock: Support,
    /// What deserves a look.
    pub findings: Vec<String>,
}

/// What a path is, as far as its rights depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Has entries.
    Directory,
    /// Takes ioctl.
    Device,
    /// A file, FIFO or socket.
    File,
}

/// Opens a path without touching what it names (`O_PATH`).
pub(crate) fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a path without touching what it names, and says what it is.
pub fn open(path: &Path) -> io::Result<(OwnedFd, Kind)> {
    let fd = open_path(path)?;
    let kind = match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Device,
        _ => Kind::File,
    };
    Ok((fd, kind))
}

impl Plan {
    /// Looks at the host, changes nothing on it.
    pub fn new(mut policy: Policy, host: &Host) -> Result<Plan, Error> {
        let mut merged = Merged::new(base::grants(policy.base, host), policy.grants.len());
        let mut findings = Vec::new();
        if let (Some(cwd), crate::profile::Base::Default) = (&host.cwd, policy.base)
            && host.holds_home(cwd)
            && !policy.grants.iter().any(|grant| within(cwd, &grant.path))
        {
            findings.push(format!(
                "the working directory {} holds the home directory and is not granted as a project",
                cwd.display()
            ));
        }
        for variable in &host.unfit {
            findings.push(format!(
                "{variable} names the home directory or the root, and nothing is granted because of it"
            ));
        }
        for grant in std::mem::take(&mut policy.grants) {
            merged.add(grant, &mut findings);
        }
        let landlock = landlock::support();
        let (grants, mounts, files) = (merged.grants, Vec::new(), Vec::new());
        let mut plan = Plan { policy, grants, files, mounts, blind: false, landlock, findings };
        plan.look(host);
        let planned = mounts::plan(&plan, host);
        plan.mounts = planned.mounts;
        plan.files = planned.files;
        plan.blind = planned.blind;
        plan.findings.extend(planned.findings);
        Ok(plan)
    }

    /// Own configuration and program in reach of a write.
    fn look(&mut self, host: &Host) {
        let mut found = Vec::new();
        if let Some(config) = &self.policy.config
            && self.covers(config, Rights::RW).is_some()
        {
            found.push(format!("the configuration {} lies in a read-write grant", config.display()));
        }
        if let Ok(program) = exec::own_program()
            && let Some(grant) = self.covers(&program, Rights::RW)
        {
            found.push(format!(
                "this program, {}, lies in the read-write grant {}",
                program.display(),
                grant.path.display()
            ));
        }
        for grant in &self.grants {
            if host.holds_home(&grant.path) {
                found.push(format!(
                    "{} {} holds the home directory with every secret in it",
                    grant.rights.option(),
                    grant.path.display()
                ));
            }
        }
        self.findings.extend(found);
    }

    /// The grant that allows `rights` on `path` (absolute, without links).
    pub fn covers(&self, path: &Path, rights: Rights) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.rights.covers(rights) && within(path, &grant.path))
    }

    /// As [`Plan::covers`], for a path without links while the grants may be links.
    pub fn covers_real(&self, path: &Path, rights: Rights) -> Option<&Grant> {
        // As they are written first: following each takes longer.
        let leads = |grant: &&Grant| {
            grant.rights.covers(rights) && path::real(&grant.path).is_ok_and(|real| within(path, &real))
        };
        self.covers(path, rights).or_else(|| self.grants.iter().find(leads))
    }

    /// The paths that may be written below, without links.
    pub fn writable(&self) -> Vec<PathBuf> {
        let mut parents = Parents::default();
        let mut roots: Vec<PathBuf> = self
            .grants
            .iter()
            .filter(|grant| grant.rights.write && !base::is_in_dev(grant))
            .filter_map(|grant| parents.real(&grant.path).map(|(real, _)| real))
            .collect();
        roots.sort();
        roots.dedup();
        roots
    }
}

/// `realpath` for many paths: what several have in common is resolved once.
#[derive(Default)]
pub(crate) struct Parents {
    last: Option<(PathBuf, PathBuf)>,
}

impl Parents {
    /// The path without links, if it exists, and whether it was seen to be something else than a directory.
    pub(crate) fn real(&mut self, path: &Path) -> Option<(PathBuf, bool)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Some((path::real(path).ok()?, false));
        };
        if self.last.as_ref().is_none_or(|(known, _)| known.as_os_str() != parent.as_os_str()) {
            self.last = Some((parent.to_path_buf(), path::real(parent).ok()?));
        }
        let full = self.last.as_ref()?.1.join(name);
        match FileType::from_raw_mode(rustix::fs::lstat(&full).ok()?.st_mode) {
            FileType::Symlink => Some((path::real(&full).ok()?, false)),
            kind => Some((full, !kind.is_dir())),
        }
    }
}

/// Grants, and where each path's are among them: there may be thousands.
struct Merged {
    grants: Vec<Grant>,
    /// The first grant of each path, by the hash of the path. Only for many: for a few, looking at each costs less
    /// than making this.
    first: Option<HashMap<u64, usize>>,
}

/// From how many on.
const MANY: usize = 64;

/// FNV-1a: a user's own paths, who may make the look-up slow for himself.
fn hash(path: &Path) -> u64 {
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Merged {
    fn new(grants: Vec<Grant>, more: usize) -> Merged {
        let mut merged = Merged { grants, first: None };
        if more > MANY {
            merged.grants.reserve(more);
            let mut first = HashMap::with_capacity(merged.grants.len() + more);
            for (at, grant) in merged.grants.iter().enumerate() {
                first.entry(hash(&grant.path)).or_insert(at);
            }
            merged.first = Some(first);
        }
        merged
    }

    /// The first grant of this path.
    fn position(&self, path: &Path) -> Option<usize> {
        let same = |grant: &Grant| grant.path.as_os_str() == path.as_os_str();
        let from = match &self.first {
            Some(first) => *first.get(&hash(path))?,
            None => 0,
        };
        // From there on, since another path may have the same hash.
        self.grants[from..].iter().position(same).map(|at| from + at)
    }

    fn add(&mut self, grant: Grant, findings: &mut Vec<String>) {
        let first = self.position(&grant.path);
        if let Some(at) = first {
            if grant.origin.is_asked() {
                return self.say(at, grant, findings);
            }
            if self.grants[at..].contains(&grant) {
                return;
            }
        } else if let Some(known) = &mut self.first {
            known.entry(hash(&grant.path)).or_insert(self.grants.len());
        }
        self.grants.push(grant);
    }

    /// What the user says about a path holds for it: `--ro` narrows what a profile grants, `--rw` adds to it.
    fn say(&mut self, at: usize, grant: Grant, findings: &mut Vec<String>) {
        let known = &mut self.grants[at];
        let again = known.origin.is_asked() && known.origin == grant.origin;
        if again && known.rights != grant.rights {
            findings.push(format!("{} is granted in two ways; the wider holds", grant.path.display()));
        } else if again && grant.origin == Origin::Flag {
            findings.push(format!("{} is granted twice", grant.path.display()));
        }
        let narrows = !again
            && match grant.origin {
                Origin::Flag => !grant.rights.write,
                // Named among what is only read, what is executed stays that.
                _ => !grant.rights.write && known.rights.write,
            };
        let rights = if narrows { grant.rights } else { known.rights.union(grant.rights) };
        *known = Grant { rights, ..grant };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(path: &str, rights: Rights, origin: Origin) -> Grant {
        Grant { path: path.into(), rights, origin }
    }

    #[test]
    fn a_flag_narrows_a_profile_and_adds_to_a_flag() {
        let mut findings = Vec::new();
        let mut merged = Merged::new(vec![grant("/p", Rights::RWX, Origin::BuiltIn("project"))], 0);
        merged.add(grant("/p", Rights::RO, Origin::Flag), &mut findings);
        assert_eq!(merged.grants[0].rights, Rights::RO);
        merged.add(grant("/p", Rights::RW, Origin::Flag), &mut findings);
        assert_eq!(merged.grants, [grant("/p", Rights::RW, Origin::Flag)]);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn many_are_merged_as_few_are() {
        let given = |at: usize| {
            let rights = if at.is_multiple_of(3) { Rights::RW } else { Rights::RO };
            let origin = if at.is_multiple_of(5) { Origin::Profile("p".into()) } else { Origin::Flag };
            grant(&format!("/d/{}", at % 40), rights, origin)
        };
        let all = |more| {
            let mut findings = Vec::new();
            let mut merged = Merged::new(vec![grant("/d/7", Rights::RWX, Origin::BuiltIn("project"))], more);
            (0..120).for_each(|at| merged.add(given(at), &mut findings));
            (merged.grants, findings)
        };
        assert_eq!(all(0), all(MANY + 1));
    }
}
