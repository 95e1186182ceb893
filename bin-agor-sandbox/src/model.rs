//! The plan as a question: would it allow this, and if not, which option would?

use std::path::{Path, PathBuf};

use crate::mounts::{Change, Mount, landlock_knows_sockets};
use crate::observe::Want;
use crate::plan::Plan;
use crate::policy::Grant;
use crate::profile::{NetMode, UnixMode};
use crate::rights::Rights;
use crate::sockets;

/// The plan with all links resolved once.
pub(crate) struct Model<'a> {
    plan: &'a Plan,
    grants: Vec<(PathBuf, Rights)>,
    unix: Vec<PathBuf>,
    /// Sockets of other programs that Landlock itself refuses: those that were there before COMMAND.
    outside: Vec<PathBuf>,
}

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What was tried, in words.
    pub(crate) what: String,
    /// The option that would allow it.
    pub(crate) option: String,
}

impl<'a> Model<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Model<'a> {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let mut outside = Vec::new();
        if plan.policy.unix.mode == UnixMode::Listed && landlock_knows_sockets(plan) {
            let connects = |grant: &&Grant| grant.rights.write && !grant.without_sockets();
            let roots: Vec<PathBuf> =
                plan.grants.iter().filter(connects).filter_map(|grant| real(&grant.path)).collect();
            outside = sockets::reachable().unwrap_or_default();
            outside.retain(|socket| !roots.iter().any(|root| socket.starts_with(root)));
        }
        Model {
            plan,
            grants: plan.grants.iter().filter_map(|grant| Some((real(&grant.path)?, grant.rights))).collect(),
            unix: plan.policy.unix.paths.iter().filter_map(|path| real(path)).collect(),
            outside,
        }
    }

    fn granted(&self, path: &Path, rights: Rights) -> bool {
        self.grants.iter().any(|(root, given)| given.covers(rights) && path.starts_with(root))
    }

    fn changed(&self, path: &Path, wanted: impl Fn(&Change) -> bool) -> bool {
        self.plan.mounts.iter().any(|mount| path.starts_with(&mount.path) && wanted(&mount.change))
    }

    pub(crate) fn hidden(&self, path: &Path) -> bool {
        self.changed(path, |change| match change {
            Change::Hidden { .. } => true,
            Change::Emptied { keep } => !keep.iter().any(|kept| path.starts_with(kept)),
            _ => false,
        })
    }

    /// What is hidden with it: only by that name the user's own word lifts it.
    pub(crate) fn covered(&self, path: &Path) -> Option<&Path> {
        let hides =
            |mount: &&Mount| matches!(mount.change, Change::Hidden { .. }) && path.starts_with(&mount.path);
        self.plan.mounts.iter().find(hides).map(|mount| mount.path.as_path())
    }

    pub(crate) fn protected(&self, path: &Path) -> bool {
        self.protects(path).is_some()
    }

    /// What is read-only with it; the innermost one counts.
    fn protects(&self, path: &Path) -> Option<&Path> {
        let counts = |mount: &&Mount| {
            matches!(mount.change, Change::ReadOnly | Change::Absent { .. } | Change::Writable)
                && path.starts_with(&mount.path)
        };
        let mount =
            self.plan.mounts.iter().filter(counts).max_by_key(|mount| mount.path.components().count())?;
        (mount.change != Change::Writable).then_some(&mount.path)
    }

    /// Whether a name cannot be changed because of what is protected or hidden at it or below it.
    pub(crate) fn pinned(&self, path: &Path) -> bool {
        self.plan.mounts.iter().any(|mount| mount.path.starts_with(path))
    }

    /// The refusal, if the plan refuses it; nothing for what fails anyway, by file permissions.
    pub(crate) fn refuses(&self, want: &Want) -> Option<Refusal> {
        let refusal = |what: &str, option: String| Some(Refusal { what: what.to_owned(), option });
        let shown = |path: &Path| path.display().to_string();
        match want {
            Want::Read(path) => {
                let refused = !self.granted(path, Rights::RO) || self.hidden(path);
                let named = self.covered(path).unwrap_or(path);
                (refused && may(path, rustix::fs::Access::READ_OK))
                    .then(|| refusal(&format!("read {}", shown(path)), format!("--ro {}", shown(named))))?
            }
            Want::Write(path) => self.refuses_write(path, "write", path),
            Want::Change(path)
                if !self.protected(path) && self.covered(path).is_none() && self.pinned(path) =>
            {
                refusal(
                    &format!("change {}", shown(path)),
                    "it holds protected paths, see --no-protect".into(),
                )
            }
            Want::Change(path) => {
                let dir = path.parent().unwrap_or(path);
                self.refuses_write(path, "change", dir)
            }
            Want::Execute(path) => (!self.granted(path, Rights::ROX)
                && may(path, rustix::fs::Access::EXEC_OK))
            .then(|| refusal(&format!("execute {}", shown(path)), format!("--rox {}", shown(path))))?,
            Want::Unix(path) => {
                let refused = match self.plan.policy.unix.mode {
                    UnixMode::All => false,
                    UnixMode::None => true,
                    UnixMode::Listed => {
                        !self.unix.contains(path) && (self.hidden(path) || self.outside.contains(path))
                    }
                };
                (refused && may(path, rustix::fs::Access::WRITE_OK)).then(|| {
                    refusal(&format!("connect to {}", shown(path)), format!("--unix {}", shown(path)))
                })?
            }
            Want::Udp => {
                let refused = self.plan.policy.net.mode != NetMode::All;
                refused.then(|| refusal("use UDP", "--net all".into()))?
            }
            Want::Tcp(port) => {
                let net = &self.plan.policy.net;
                let refused = match net.mode {
                    NetMode::All => false,
                    NetMode::None => true,
                    NetMode::Ports => !net.connect.contains(port),
                };
                refused.then(|| {
                    refusal(&format!("connect to TCP port {port}"), format!("--connect-tcp {port}"))
                })?
            }
            Want::Bind(port) => {
                let net = &self.plan.policy.net;
                let refused = match net.mode {
                    NetMode::All => false,
                    NetMode::None => true,
                    NetMode::Ports => !net.bind.contains(port),
                };
                refused.then(|| refusal(&format!("bind TCP port {port}"), format!("--bind-tcp {port}")))?
            }
        }
    }

    /// `target` is what would have to be granted for it.
    fn refuses_write(&self, path: &Path, word: &str, target: &Path) -> Option<Refusal> {
        let what = format!("{word} {}", path.display());
        if let Some(protected) = self.protects(path) {
            let option = format!("--rw {} lifts its protection", protected.display());
            return Some(Refusal { what, option });
        }
        let granted = self.granted(target, Rights::RW) && !self.hidden(path);
        if granted || !may(target, rustix::fs::Access::WRITE_OK) {
            return None;
        }
        let target = self.covered(path).unwrap_or(target);
        Some(Refusal { what, option: format!("--rw {}", target.display()) })
    }
}

/// Whether file permissions would allow it, with the capabilities that are effective.
fn may(path: &Path, access: rustix::fs::Access) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, path, access, rustix::fs::AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use crate::host::Host;
    use crate::landlock::Support;
    use crate::policy::Policy;

    #[test]
    fn sockets_that_landlock_refuses_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let refused = |options: &[&str]| {
            let words = [options, &["--profile", "strict", "--", "true"]].concat();
            let args = Args::parse(words.into_iter().map(std::ffi::OsString::from)).unwrap();
            let host = Host::default();
            let mut plan = Plan::new(Policy::build(&args, &host).unwrap(), &host).unwrap();
            plan.mounts.clear();
            plan.landlock = Support::Abi(9);
            Model::new(&plan).refuses(&Want::Unix(path.clone())).is_some()
        };
        let (dir, path) = (dir.path().to_str().unwrap(), path.to_str().unwrap());
        assert!(refused(&[]));
        assert!(refused(&["--ro", dir]));
        for options in [&["--unix", path][..], &["--rw", dir], &["--unix-all"]] {
            assert!(!refused(options), "{options:?}");
        }
    }
}
