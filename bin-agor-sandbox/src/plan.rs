//! The plan: the policy on this host, complete and in order. `explain` prints it, `run` executes it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
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
    /// What the private mount namespace changes, in order.
    pub mounts: Vec<Mount>,
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
    pub fn new(policy: Policy, host: &Host) -> Result<Plan, Error> {
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
        for grant in &policy.grants {
            merged.add(grant, &mut findings);
        }
        let landlock = landlock::support();
        let mut plan = Plan { policy, grants: merged.grants, mounts: Vec::new(), landlock, findings };
        plan.look(host);
        let (mounts, findings) = mounts::plan(&plan, host);
        plan.mounts = mounts;
        plan.findings.extend(findings);
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
            if grant.origin == Origin::Flag && host.holds_home(&grant.path) {
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
            .filter(|grant| grant.rights.write && !within(&grant.path, Path::new("/dev")))
            .filter_map(|grant| parents.real(&grant.path))
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
    /// The path without links, if it exists.
    pub(crate) fn real(&mut self, path: &Path) -> Option<PathBuf> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return path::real(path).ok();
        };
        if self.last.as_ref().is_none_or(|(known, _)| known != parent) {
            self.last = Some((parent.to_path_buf(), path::real(parent).ok()?));
        }
        let full = self.last.as_ref()?.1.join(name);
        match rustix::fs::readlinkat(rustix::fs::CWD, &full, Vec::with_capacity(64)) {
            // Not a link: it is what it says.
            Err(rustix::io::Errno::INVAL) => Some(full),
            Ok(_) => path::real(&full).ok(),
            Err(_) => None,
        }
    }
}

/// Grants, and where each path's are among them: there may be thousands.
struct Merged {
    grants: Vec<Grant>,
    /// Only for many: for a few, looking at each costs less than making this.
    at: Option<HashMap<PathBuf, Vec<usize>>>,
}

/// From how many on.
const MANY: usize = 64;

impl Merged {
    fn new(grants: Vec<Grant>, more: usize) -> Merged {
        let at = (more > MANY).then(|| {
            let mut at: HashMap<PathBuf, Vec<usize>> = HashMap::with_capacity(grants.len() + more);
            for (index, grant) in grants.iter().enumerate() {
                at.entry(grant.path.clone()).or_default().push(index);
            }
            at
        });
        Merged { grants, at }
    }

    fn same_path(&self, path: &Path) -> Vec<usize> {
        match &self.at {
            Some(at) => at.get(path).cloned().unwrap_or_default(),
            None => (0..self.grants.len())
                .filter(|index| self.grants[*index].path.as_os_str() == path.as_os_str())
                .collect(),
        }
    }

    fn add(&mut self, grant: &Grant, findings: &mut Vec<String>) {
        let same_path = self.same_path(&grant.path);
        if grant.origin == Origin::Flag
            && let Some(at) = same_path.first()
        {
            let known = &mut self.grants[*at];
            if known.origin == Origin::Flag {
                if known.rights == grant.rights {
                    findings.push(format!("{} is granted twice", grant.path.display()));
                } else {
                    findings
                        .push(format!("{} is granted in two ways; the wider holds", grant.path.display()));
                }
            }
            // What the user says about a path holds for it: --ro narrows what a profile grants, --rw adds to it.
            let narrows = !grant.rights.write && known.origin != Origin::Flag;
            let rights = if narrows { grant.rights } else { known.rights.union(grant.rights) };
            *known = Grant { path: grant.path.clone(), rights, origin: Origin::Flag };
            return;
        }
        if !same_path.iter().any(|index| self.grants[*index] == *grant) {
            if let Some(at) = &mut self.at {
                at.entry(grant.path.clone()).or_default().push(self.grants.len());
            }
            self.grants.push(grant.clone());
        }
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
        merged.add(&grant("/p", Rights::RO, Origin::Flag), &mut findings);
        assert_eq!(merged.grants[0].rights, Rights::RO);
        merged.add(&grant("/p", Rights::RW, Origin::Flag), &mut findings);
        assert_eq!(merged.grants, [grant("/p", Rights::RW, Origin::Flag)]);
        assert_eq!(findings.len(), 1);
    }
}
