//! What a private mount namespace has to change: Landlock only ever adds rights below a path, so whatever is
//! to be kept from a granted directory is kept from it here.
//!
//! A protected path becomes a read-only mount of itself, and every directory above it that could be renamed
//! away, up to the grant, a mount of itself too: the kernel refuses to rename a mount point.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::git;
use crate::host::{Host, within};
use crate::landlock::Support;
use crate::placeholder;
use crate::plan::{Parents, Plan};
use crate::policy::{Grant, Origin};
use crate::profile::UnixMode;
use crate::rights::Rights;
use crate::sys::path::real;
use crate::{nested, root_only, sockets, terminals};

mod repositories;
mod search;

use search::{below, environment_files, says, settings};

/// What is done to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A mount of itself, so that it cannot be renamed or removed.
    Pin,
    /// A read-only mount of itself.
    ReadOnly,
    /// What it was, below one that becomes read-only.
    Writable,
    /// It does not exist: an empty one, read-only, so that it cannot be made.
    Absent {
        /// Whether it is a directory.
        directory: bool,
    },
    /// Replaced by an unreadable empty file or directory.
    Hidden {
        /// Whether it is a directory.
        directory: bool,
    },
    /// Replaced by an empty directory in which only `keep` is.
    Emptied {
        /// Paths below that stay.
        keep: Vec<PathBuf>,
    },
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, without links.
    pub path: PathBuf,
    /// What.
    pub change: Change,
    /// Why.
    pub why: String,
    /// Whether COMMAND must not run at all where this cannot be had.
    pub vital: bool,
}

/// Never writable in a project.
const PROJECT_FILES: [&str; 3] = [".mcp.json", ".claude/settings.json", ".claude/settings.local.json"];

/// Read by shells when they start.
const SHELL_FILES: [&str; 11] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".config/fish/config.fish",
];

struct Planner<'a> {
    roots: Vec<PathBuf>,
    projects: Vec<PathBuf>,
    plan: &'a Plan,
    host: &'a Host,
    mounts: Vec<Mount>,
    paths: BTreeSet<PathBuf>,
    findings: Vec<String>,
    files: Vec<usize>,
    followed: Option<(PathBuf, PathBuf)>,
    blind: bool,
}

/// What came of a look at the host.
pub(crate) struct Planned {
    /// From the top of the tree downwards.
    pub(crate) mounts: Vec<Mount>,
    /// What deserves a look.
    pub(crate) findings: Vec<String>,
    /// Grants that were seen to be no directories.
    pub(crate) files: Vec<usize>,
    /// Whether other programs' sockets should have been hidden and nobody knows where they are.
    pub(crate) blind: bool,
}

/// What is to be mounted for `plan`.
pub(crate) fn plan(plan: &Plan, host: &Host) -> Planned {
    let mut planner = Planner {
        roots: writable(plan),
        projects: projects(plan, host),
        plan,
        host,
        mounts: Vec::new(),
        paths: BTreeSet::new(),
        findings: Vec::new(),
        files: Vec::new(),
        followed: None,
        blind: false,
    };
    planner.narrowed();
    if plan.policy.protect {
        for (path, origin) in &plan.policy.protected {
            if *origin == Origin::Flag && planner.lifted(path) {
                let path = path.display();
                planner
                    .findings
                    .push(format!("--protect {path} has no effect: the same path is granted for writing"));
            }
            planner.protect(path, &origin.to_string());
        }
        if let Some(config) = &plan.policy.config {
            planner.protect(config, "own configuration");
        }
        for project in planner.projects.clone() {
            planner.project(&project);
        }
    }
    if plan.policy.protect {
        for (path, origin) in &plan.policy.hidden {
            planner.hide(path, &origin.to_string());
        }
        if host.euid == 0 {
            for path in root_only::paths() {
                planner.hide(&path, "readable only because this is root");
            }
        }
    }
    if plan.policy.unix.mode == UnixMode::Listed && !landlock_knows_sockets(plan) {
        planner.sockets();
    }
    if plan.policy.protect {
        planner.terminals();
    }
    planner.widened();
    planner.pin();
    let mut mounts = planner.mounts;
    mounts.sort_by_key(|mount| (mount.path.components().count(), mount.change == Change::ReadOnly));
    Planned { mounts, findings: planner.findings, files: planner.files, blind: planner.blind }
}

/// Whether Landlock itself keeps COMMAND from other programs' sockets, so that nothing has to be hidden.
pub(crate) fn landlock_knows_sockets(plan: &Plan) -> bool {
    matches!(plan.landlock, Support::Abi(abi) if abi >= 9)
}

/// The writable roots, where anything could be kept from them at all.
fn writable(plan: &Plan) -> Vec<PathBuf> {
    let narrowed = plan.grants.iter().any(|grant| grant.origin.is_asked() && !grant.rights.write);
    if plan.policy.protect || narrowed { plan.writable() } else { Vec::new() }
}

/// The directories that get a project's protection: the working directory, and repositories that were
/// granted by name.
fn projects(plan: &Plan, host: &Host) -> Vec<PathBuf> {
    let mut projects: Vec<PathBuf> = Vec::new();
    let granted = plan.grants.iter().filter(|grant| grant.rights.write);
    for grant in granted {
        let is_project = match grant.origin {
            Origin::BuiltIn(why) => why == "project",
            Origin::Flag if host.cwd.as_ref() == Some(&grant.path) => true,
            Origin::Flag | Origin::Profile(_) | Origin::Configured(_) => {
                grant.path.join(".git").exists() || git::has_head(&grant.path)
            }
        };
        if is_project && !projects.contains(&grant.path) {
            projects.push(grant.path.clone());
        }
    }
    projects
}

impl Planner<'_> {
    fn writable(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| within(path, root))
    }

    fn push(&mut self, path: PathBuf, change: Change, why: &str, vital: bool) {
        if self.paths.insert(path.clone()) {
            self.mounts.push(Mount { path, change, why: why.to_owned(), vital });
        }
    }

    /// Named by the user for writing: that is not protected against their word.
    fn lifted(&self, path: &Path) -> bool {
        self.plan
            .grants
            .iter()
            .any(|grant| grant.origin == Origin::Flag && grant.rights.write && grant.path == path)
    }

    /// `--ro` below a grant that may be written.
    fn narrowed(&mut self) {
        let plan = self.plan;
        let mut parents = Parents::default();
        for (at, grant) in plan.grants.iter().enumerate() {
            if !grant.origin.is_asked() || grant.rights.write {
                continue;
            }
            let Some((real, file)) = parents.real(&grant.path) else { continue };
            if file {
                self.files.push(at);
            }
            if self.writable(&real) && !already_read_only(&real) {
                self.push(real, Change::ReadOnly, "read-only below a read-write grant", true);
            }
        }
    }

    /// A grant for writing below what is read-only: the narrower one holds here too.
    fn widened(&mut self) {
        let below = |root: &&PathBuf| {
            let read_only = |mount: &Mount| mount.change == Change::ReadOnly && within(root, &mount.path);
            self.mounts.iter().any(read_only) && !self.paths.contains(*root)
        };
        let roots: Vec<PathBuf> = self.roots.iter().filter(below).cloned().collect();
        for root in roots {
            let asked = |grant: &Grant| {
                grant.origin.is_asked()
                    && grant.rights.write
                    && real(&grant.path).is_ok_and(|real| real == root)
            };
            if self.plan.grants.iter().any(asked) && !already_read_only(&root) {
                self.push(root, Change::Writable, "read-write below a read-only path", false);
            }
        }
    }

    fn protect(&mut self, path: &Path, why: &str) {
        if self.lifted(path) {
            return;
        }
        match std::fs::symlink_metadata(path) {
            Ok(meta) => {
                let real = match real(path) {
                    Ok(real) => real,
                    Err(_) if meta.is_symlink() => {
                        self.links(path);
                        if let (Some(dir), Ok(to)) = (path.parent(), std::fs::read_link(path)) {
                            self.protect_absent(&dir.join(to), why);
                        }
                        return;
                    }
                    // It was another sandbox's, and is gone by now.
                    Err(_) => return self.protect_absent(path, why),
                };
                if real.as_os_str() != path.as_os_str() {
                    self.links(path);
                }
                if !self.writable(&real) || already_read_only(&real) {
                    return;
                }
                if meta.is_file() && meta.nlink() > 1 {
                    self.findings.push(format!(
                        "{} has another name (hard link), by which it can still be changed if that lies in a \
                         read-write grant",
                        path.display()
                    ));
                }
                if placeholder::is_one(&real) || git::is_empty(&real) {
                    // Another sandbox's, perhaps half made; shared if it is one.
                    if !meta.is_dir()
                        && placeholder::is_seen_by_git(&real)
                        && let (Some(dir), Some(name)) = (real.parent(), real.file_name())
                    {
                        self.ignored(dir, name);
                    }
                    // Not looked at again: it may be gone by now.
                    let directory =
                        if meta.is_symlink() { placeholder::is_directory(&real) } else { meta.is_dir() };
                    self.push(real, Change::Absent { directory }, why, false);
                } else if real.exists() {
                    self.push(real, Change::ReadOnly, why, false);
                } else {
                    // It was another sandbox's, and is gone by now.
                    self.protect_absent(path, why);
                }
            }
            Err(_) => self.protect_absent(path, why),
        }
    }

    /// Keeps links on the way to a protected path from being replaced.
    fn links(&mut self, path: &Path) {
        let mut waiting = vec![path.to_path_buf()];
        // As many as the kernel follows (path_resolution(7)).
        for _ in 0..40 {
            let Some(path) = waiting.pop() else { return };
            for at in path.ancestors() {
                let (Some(dir), Some(name), Ok(to)) = (at.parent(), at.file_name(), std::fs::read_link(at))
                else {
                    continue;
                };
                waiting.push(dir.join(to));
                if let Ok(dir) = real(dir)
                    && self.writable(&dir)
                {
                    self.push(dir.join(name), Change::Pin, "leads to a protected path", false);
                }
            }
        }
    }

    /// The path without links; that of the last one is remembered, since most lie in the same directory.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        if let Some((known, real)) = &self.followed
            && known.as_os_str() == path.as_os_str()
        {
            return Some(real.clone());
        }
        let real = real(path).ok()?;
        self.followed = Some((path.to_path_buf(), real.clone()));
        Some(real)
    }

    fn protect_absent(&mut self, path: &Path, why: &str) {
        // The nearest parent that exists; what lies between must be there for the name to be covered.
        let mut between = Vec::new();
        let Some(mut parent) = path.parent() else { return };
        let real = loop {
            match self.follow(parent) {
                Some(real) => break real,
                None => {
                    let (Some(name), Some(above)) = (parent.file_name(), parent.parent()) else { return };
                    between.push(name.to_owned());
                    parent = above;
                }
            }
        };
        let Some(name) = path.file_name() else { return };
        // Whoever owns a directory can make it writable.
        let can_be = may_create(&real) || (self.owns(&real) && !already_read_only(&real));
        if !self.writable(&real) || !can_be {
            return;
        }
        let dir = between.iter().rev().fold(real, |path, name| path.join(name));
        let full = dir.join(name);
        if full.as_os_str() != path.as_os_str() {
            self.links(path);
        }
        let directory = placeholder::is_directory(path)
            || (placeholder::is_seen_by_git(path) && !self.ignored(&dir, name));
        self.push(full, Change::Absent { directory }, why, false);
    }

    /// Keeps git from the stand-in for `name` in `dir`, which no `git add` shall pick up. Whether that can be had.
    fn ignored(&mut self, dir: &Path, name: &OsStr) -> bool {
        let path = dir.join(placeholder::IGNORE);
        match std::fs::symlink_metadata(&path) {
            Ok(_) if !placeholder::is_one(&path) => says(&path, name),
            // A repository's first file is often this one: not to be kept from COMMAND.
            Err(_) if self.projects.iter().any(|project| project == dir) => false,
            _ => {
                let directory = false;
                self.push(
                    path,
                    Change::Absent { directory },
                    "hides what stands in for settings from git",
                    false,
                );
                true
            }
        }
    }

    fn owns(&self, path: &Path) -> bool {
        rustix::fs::stat(path).is_ok_and(|stat| stat.st_uid == self.host.euid)
    }

    fn project(&mut self, project: &Path) {
        for name in PROJECT_FILES {
            self.protect(&project.join(name), "agent settings of the project");
        }
        for name in settings(project) {
            self.protect(&name, "agent settings of the project");
        }
        let is_home = self.host.is_home(project);
        self.codex(project);
        for name in SHELL_FILES {
            let path = project.join(name);
            if is_home || std::fs::symlink_metadata(&path).is_ok() {
                self.protect(&path, "read by shells");
            }
        }
        for path in environment_files(project) {
            self.hide(&path, "secrets of the project");
        }
        for below in below(project) {
            self.nested(&below);
        }
        let repository = git::find(project);
        if repository.as_ref().is_none_or(|repository| repository.top != project) && git::has_head(project) {
            // Bare: the project is a git directory itself.
            self.git_dir(project, project);
        }
        match repository {
            Some(repository) => self.repository(project, &repository),
            // A link, or a file that leads nowhere known: not to be replaced either.
            None => self.nested(&project.join(".git")),
        }
    }

    /// As a whole, as codex itself does: servers, hooks and rules are in files of many names. Where there is none
    /// it looks for them in projects that its user trusts only, and of a stand-in elsewhere it would warn.
    fn codex(&mut self, project: &Path) {
        let why = "agent settings of the project";
        let settings = project.join(".codex");
        if self.host.is_home(project) {
            // Its home.
            let config = settings.join("config.toml");
            if std::fs::symlink_metadata(&config).is_ok() {
                self.protect(&config, why);
            }
        } else if std::fs::symlink_metadata(&settings).is_ok() || nested::codex_knows(project, self.host) {
            self.protect(&settings, why);
        }
    }

    fn hide(&mut self, path: &Path, why: &str) {
        let Ok(real) = real(path) else { return };
        let named = |grant: &Grant| grant.origin == Origin::Flag && grant.path == path;
        let readable = rustix::fs::access(&real, rustix::fs::Access::READ_OK).is_ok();
        let can_be = readable || (self.owns(&real) && !already_read_only(&real));
        if !can_be || self.plan.grants.iter().any(named) || self.plan.covers_real(&real, Rights::RO).is_none()
        {
            return;
        }
        let directory = real.is_dir();
        self.push(real, Change::Hidden { directory }, why, false);
    }

    fn terminals(&mut self) {
        let granted = |grant: &Grant| grant.path.as_os_str() == "/dev/pts";
        match self.plan.grants.iter().find(|grant| granted(grant)) {
            Some(grant) if grant.origin != Origin::Flag => {}
            _ => return,
        }
        for path in terminals::others() {
            if !self.lifted(&path) {
                self.push(path, Change::Hidden { directory: false }, "terminal of another program", false);
            }
        }
    }

    fn sockets(&mut self) {
        let allowed = &self.plan.policy.unix.paths;
        let run = Path::new("/run");
        if run.is_dir() && !crate::namespace::is_stash(run) {
            let below = |path: &PathBuf| path.starts_with(run) && path != run;
            let mut keep: Vec<PathBuf> = Vec::new();
            // By name first: with thousands of grants, following each would take longer than all the rest.
            let leads =
                |path: &&PathBuf| within(path, Path::new("/run")) || within(path, Path::new("/var/run"));
            let granted = self.plan.grants.iter().map(|grant| &grant.path).filter(leads);
            for path in granted.chain(allowed) {
                let Ok(real) = real(path) else { continue };
                if below(&real) && !keep.iter().any(|known| real.starts_with(known)) {
                    keep.retain(|known| !known.starts_with(&real));
                    keep.push(real);
                }
            }
            let wanted =
                self.plan.grants.iter().any(|grant| grant.origin == Origin::Flag && grant.path == run);
            if !wanted {
                self.push(run.to_path_buf(), Change::Emptied { keep }, "sockets of other programs", false);
            }
        }
        let own: Vec<PathBuf> = self
            .plan
            .grants
            .iter()
            .filter(|grant| {
                grant.rights.write && !grant.without_sockets() && grant.origin != Origin::BuiltIn("device")
            })
            .map(|grant| grant.path.clone())
            .collect();
        let reachable = sockets::reachable();
        self.blind = reachable.is_none();
        for path in reachable.unwrap_or_default() {
            let kept = allowed.iter().any(|known| real(known).is_ok_and(|known| known == path));
            if kept || path.starts_with(run) || self.owned(&own, &path) {
                continue;
            }
            self.push(path, Change::Hidden { directory: false }, "socket of another program", false);
        }
    }

    fn owned(&self, own: &[PathBuf], path: &Path) -> bool {
        own.iter().any(|root| within(path, root) || real(root).is_ok_and(|root| within(path, &root)))
    }

    /// Pins everything between a grant and what is protected in it.
    fn pin(&mut self) {
        let mut pins: Vec<PathBuf> = Vec::new();
        for mount in &self.mounts {
            for above in mount.path.ancestors().skip(1) {
                let Some(parent) = above.parent() else { break };
                if !self.writable(parent) {
                    break;
                }
                if !pins.iter().any(|known| known == above) {
                    pins.push(above.to_path_buf());
                }
            }
        }
        for path in pins {
            self.push(path, Change::Pin, "holds a protected path", false);
        }
    }
}

/// Whether a path lies on a read-only mount already, as inside another sandbox of ours.
fn already_read_only(path: &Path) -> bool {
    // Not access(2): it looks at the file's mode first.
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

fn may_create(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}
