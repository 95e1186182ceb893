//! Everything that git outside takes commands from, in the repositories of a project: configuration with what it
//! includes, hooks, and what says where these are.

use std::path::{Path, PathBuf};

use super::{Planner, environment_files};
use crate::git::{self, Repository};
use crate::sys::path::real;

/// How many files that a git configuration includes are looked into.
const INCLUDED: usize = 32;

impl Planner<'_> {
    pub(super) fn repository(&mut self, project: &Path, repository: &Repository) {
        let own = project.join(".git");
        if repository.top != project {
            // A repository in the middle of another one would take over there.
            self.protect(&own, "would hide the repository around the project");
            for path in environment_files(&repository.top) {
                self.hide(&path, "secrets of the repository around the project");
            }
        } else if own.is_file() {
            self.protect(&own, "says where the repository is");
        }
        self.git_dir(&repository.common_dir, &repository.top);
    }

    /// The `.git` of a repository below the project.
    pub(super) fn nested(&mut self, dot_git: &Path) {
        let Ok(meta) = std::fs::symlink_metadata(dot_git) else { return };
        if meta.is_dir() && git::has_head(dot_git) {
            return self.git_dir(dot_git, dot_git.parent().unwrap_or(dot_git));
        }
        // A file says where the repository is; a link is not to be replaced either, nor what lacks a part that
        // COMMAND could bring back.
        self.protect(dot_git, "says where a repository is");
        if let Some(dir) = git::leads_to(dot_git).filter(|dir| git::has_head(dir)) {
            self.git_dir(&dir, dot_git.parent().unwrap_or(dot_git));
        }
    }

    /// A git directory with configuration, and those of its submodules and linked working trees. `top` is its own
    /// working tree.
    pub(super) fn git_dir(&mut self, dir: &Path, top: &Path) {
        let config = dir.join("config");
        if self.paths.contains(&config) {
            return;
        }
        self.protect(&config, "configuration that runs commands");
        self.protect(&dir.join("hooks"), "run by git");
        self.protect(&dir.join("commondir"), "would move the repository's configuration");
        let text = git::text(&config);
        let own = git::has_worktree_config(&text);
        self.configured(dir, top, &text.unwrap_or_default());
        self.worktrees(dir, top, own);
        self.modules(&dir.join("modules"), 3);
    }

    /// The directories of hooks that a configuration names, and what it includes.
    fn configured(&mut self, dir: &Path, top: &Path, config: &[u8]) {
        // A submodule says where its working tree is.
        let top =
            git::paths(config, &["core"], "worktree").pop().map_or(top.to_path_buf(), |to| dir.join(to));
        let mut configs = vec![(dir.to_path_buf(), config.to_vec())];
        let mut seen = 0;
        while let Some((dir, config)) = configs.pop() {
            for hooks in git::paths(&config, &["core"], "hookspath") {
                self.protect(&self.named_by(&top, &hooks), "core.hooksPath");
            }
            for path in git::paths(&config, &["include", "includeif"], "path") {
                let path = self.named_by(&dir, &path);
                seen += 1;
                match git::text(&path) {
                    Ok(text) if seen <= INCLUDED => {
                        self.protect(&path, "configuration that runs commands");
                        configs.push((path.parent().unwrap_or(&dir).to_path_buf(), text));
                    }
                    _ if path
                        .parent()
                        .and_then(|dir| real(dir).ok())
                        .is_none_or(|dir| !self.writable(&dir)) => {}
                    // Where there is none yet, a directory in its place would end git.
                    _ => self.findings.push(format!(
                        "{} is included by a git configuration and not protected: it cannot be read",
                        path.display()
                    )),
                }
            }
        }
    }

    /// A path as git's configuration says it.
    fn named_by(&self, dir: &Path, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.host.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => dir.join(path),
        }
    }

    /// What says which configuration holds in the repository's working trees, this one and linked ones
    /// elsewhere: git outside would run the commands in it.
    fn worktrees(&mut self, common_dir: &Path, top: &Path, own: bool) {
        let mut dirs = vec![common_dir.to_path_buf()];
        if let Ok(entries) = std::fs::read_dir(common_dir.join("worktrees")) {
            dirs.extend(entries.flatten().map(|entry| entry.path()));
        }
        dirs[1..].sort();
        for dir in &dirs {
            let config = dir.join("config.worktree");
            if own || std::fs::symlink_metadata(&config).is_ok() {
                self.protect(&config, "configuration that runs commands");
                self.configured(dir, top, &git::text(&config).unwrap_or_default());
            }
        }
        for dir in &dirs[1..] {
            for name in ["commondir", "gitdir"] {
                self.protect(&dir.join(name), "says where the repository is");
            }
            // Each has its submodules for itself.
            self.modules(&dir.join("modules"), 3);
        }
    }

    /// Git directories of submodules.
    fn modules(&mut self, dir: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            if git::has_head(&entry) || entry.join("config").is_file() {
                self.git_dir(&entry, &entry);
            } else if depth > 0 {
                self.modules(&entry, depth - 1);
            }
        }
    }
}
