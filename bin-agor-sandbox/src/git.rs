//! Where a project's repository is: the directory itself, one above it, or, for a worktree, somewhere else.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::sys::path::real;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The top of the working tree: the directory that holds `.git`.
    pub top: PathBuf,
    /// The git directory of this working tree.
    pub git_dir: PathBuf,
    /// The git directory that holds configuration, hooks and objects; the same except in a worktree.
    pub common_dir: PathBuf,
}

fn line(path: &Path) -> Option<Vec<u8>> {
    // A file of this kind is one line; anything longer than a path is not one.
    let bytes = std::fs::read(path).ok().filter(|bytes| bytes.len() < 8192)?;
    Some(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
}

fn absolute(base: &Path, bytes: &[u8]) -> PathBuf {
    base.join(Path::new(std::ffi::OsStr::from_bytes(bytes.trim_ascii())))
}

/// The repository of `start`: the nearest `.git` in it or above it (gitrepository-layout(5)).
pub fn find(start: &Path) -> Option<Repository> {
    for top in start.ancestors() {
        let dot_git = top.join(".git");
        let Ok(meta) = std::fs::symlink_metadata(&dot_git) else { continue };
        let (git_dir, linked) = if meta.is_file() {
            let text = line(&dot_git)?;
            (real(absolute(top, text.strip_prefix(b"gitdir:")?)).ok()?, true)
        } else if meta.is_dir() {
            (dot_git.clone(), false)
        } else {
            return None;
        };
        // What only looks like a git directory must not widen a grant: both of these are in every one. Git looks
        // further up where there is no HEAD, as in the stand-in of another sandbox.
        if std::fs::symlink_metadata(git_dir.join("HEAD")).is_err() {
            if linked {
                return None;
            }
            continue;
        }
        let common_dir = if linked { points_back(&git_dir, &dot_git)? } else { git_dir.clone() };
        if std::fs::symlink_metadata(common_dir.join("objects")).is_err() {
            return None;
        }
        return Some(Repository { top: top.to_path_buf(), git_dir, common_dir });
    }
    None
}

/// The common directory of a linked git directory, if that directory says itself that it belongs to
/// `dot_git`: a `.git` file that an earlier run left there must not lead into any other repository.
fn points_back(git_dir: &Path, dot_git: &Path) -> Option<PathBuf> {
    if let Some(text) = line(&git_dir.join("gitdir")) {
        let common = real(absolute(git_dir, &line(&git_dir.join("commondir"))?)).ok()?;
        let back = absolute(git_dir, &text);
        let same = back == dot_git || real(&back).ok() == real(dot_git).ok();
        return (same && git_dir.starts_with(common.join("worktrees"))).then_some(common);
    }
    // A submodule's lies below the .git/modules of a repository around it.
    let around = dot_git.parent()?.ancestors().skip(1).map(|dir| dir.join(".git/modules"));
    let mut around = around.filter_map(|dir| real(dir).ok());
    around.any(|modules| git_dir.starts_with(modules)).then(|| git_dir.to_path_buf())
}

/// Whether working trees of a repository have configuration of their own (git-config(1),
/// `extensions.worktreeConfig`). What cannot be read is taken for a yes.
pub fn has_worktree_config(common_dir: &Path) -> bool {
    match std::fs::read(common_dir.join("config")) {
        Ok(text) => text.to_ascii_lowercase().windows(14).any(|part| part == b"worktreeconfig"),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

impl Repository {
    /// The git directories that are not below `project` and must be granted beside it.
    pub fn outside(&self, project: &Path) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        for dir in [&self.common_dir, &self.git_dir] {
            if !dir.starts_with(project) && !dirs.iter().any(|known: &PathBuf| dir.starts_with(known)) {
                dirs.push(dir.clone());
            }
        }
        dirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_plain_nested_and_linked() {
        let base = tempfile::tempdir().unwrap();
        let top = base.path().canonicalize().unwrap();
        let make = |dir: &str| std::fs::create_dir_all(top.join(dir)).unwrap();
        make("main/.git/objects");
        make("main/.git/worktrees/w");
        make("main/sub/deep");
        make("w");
        std::fs::write(top.join("main/.git/HEAD"), "ref: x\n").unwrap();
        assert_eq!(find(&top.join("w")), find(&top));
        let found = find(&top.join("main/sub/deep")).unwrap();
        assert_eq!(found.top, top.join("main"));
        assert_eq!(found.outside(&top.join("main/sub")), [top.join("main/.git")]);
        assert!(found.outside(&top.join("main")).is_empty());
        make("main/sub/deep/.git");
        assert_eq!(find(&top.join("main/sub/deep")), Some(found), "an empty one is none");

        std::fs::write(
            top.join("w/.git"),
            format!("gitdir: {}\n", top.join("main/.git/worktrees/w").display()),
        )
        .unwrap();
        std::fs::write(top.join("main/.git/worktrees/w/HEAD"), "ref: y\n").unwrap();
        std::fs::write(top.join("main/.git/worktrees/w/commondir"), "../..\n").unwrap();
        assert_eq!(find(&top.join("w")), None, "nothing points back");
        let back = format!("{}\n", top.join("w/.git").display());
        std::fs::write(top.join("main/.git/worktrees/w/gitdir"), back).unwrap();
        let linked = find(&top.join("w")).unwrap();
        assert_eq!(linked.common_dir, top.join("main/.git"));
        assert_eq!(linked.outside(&top.join("w")), [top.join("main/.git")]);
    }

    #[test]
    fn a_forged_git_file_widens_nothing() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("secret")).unwrap();
        std::fs::write(base.path().join(".git"), "gitdir: secret\n").unwrap();
        assert_eq!(find(base.path()), None);
    }
}
