//! Where a project's repository is: the directory itself, one above it, or, for a worktree, somewhere else.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::sys::path::{real, regular};

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

/// No file that is looked at here is read further: COMMAND may have left an endless one.
const LONGEST: u64 = 1024 * 1024;

/// What a regular file says.
pub(crate) fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    regular(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

fn line(path: &Path) -> Option<Vec<u8>> {
    // A file of this kind is one line; anything longer than a path is not one.
    let bytes = text(path).ok().filter(|bytes| bytes.len() < 8192)?;
    Some(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
}

fn absolute(base: &Path, bytes: &[u8]) -> PathBuf {
    base.join(OsStr::from_bytes(bytes.trim_ascii()))
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
        // further up where there is no HEAD, but COMMAND can remove one: only past the stand-in of another sandbox.
        if !has_head(&git_dir) {
            if linked || !is_empty(&git_dir) {
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

/// Whether a directory has the file that is in every git directory.
pub(crate) fn has_head(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir.join("HEAD")).is_ok()
}

/// Whether nothing is in a directory.
pub(crate) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// The git directory with the configuration of what a `.git` file leads to. It is not checked to be one: good to
/// protect something, not to grant it.
pub(crate) fn leads_to(dot_git: &Path) -> Option<PathBuf> {
    let dir = absolute(dot_git.parent()?, line(dot_git)?.strip_prefix(b"gitdir:")?);
    let common = line(&dir.join("commondir")).map(|common| absolute(&dir, &common));
    real(common.unwrap_or(dir)).ok()
}

/// Whether working trees of a repository have configuration of their own (git-config(1),
/// `extensions.worktreeConfig`), by its configuration. What cannot be read is taken for a yes.
pub(crate) fn has_worktree_config(config: &io::Result<Vec<u8>>) -> bool {
    match config {
        Ok(text) => text.to_ascii_lowercase().windows(14).any(|part| part == b"worktreeconfig"),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Every path that a configuration gives for `key` in one of `sections`; all in small letters. As far as each
/// stands in one line (git-config(1), "Syntax").
pub(crate) fn paths(config: &[u8], sections: &[&str], key: &str) -> Vec<PathBuf> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in config.split(|byte| *byte == b'\n') {
        let mut line = line.trim_ascii();
        if let Some(header) = line.strip_prefix(b"[") {
            let name = header.split(|byte| b" \t\"]".contains(byte)).next().unwrap_or_default();
            inside = sections.iter().any(|section| name.eq_ignore_ascii_case(section.as_bytes()));
            // A subsection is in quotes, and may hold a bracket.
            let quoted =
                header.iter().position(|byte| b"\"]".contains(byte)).is_some_and(|at| header[at] == b'"');
            let end = if quoted { &b"\"]"[..] } else { b"]" };
            let Some(at) = header.windows(end.len()).position(|part| part == end) else { continue };
            line = &header[at + end.len()..];
        }
        let Some(at) = line.iter().position(|byte| *byte == b'=').filter(|_| inside) else { continue };
        if !line[..at].trim_ascii().eq_ignore_ascii_case(key.as_bytes()) {
            continue;
        }
        let value = line[at + 1..].trim_ascii();
        let value = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.split(|byte| *byte == b'"').next(),
            None => value.split(|byte| b"#;".contains(byte)).next(),
        };
        let value = value.unwrap_or_default().trim_ascii();
        if !value.is_empty() {
            found.push(PathBuf::from(OsStr::from_bytes(value)));
        }
    }
    found
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
    fn paths_of_a_configuration_are_found() {
        let config =
            b"[core]\n\tbare = false\n\thooksPath = .husky/_ # ours\n[user]\n name = J\xe9\n path = no\n\
            [CORE] HooksPath=\"/a b/h\"\n[include]\n path = ../x\n[includeIf \"gitdir:/a[0]\"] path = ~/y\n";
        let found = |sections: &[&str], key| paths(config, sections, key);
        assert_eq!(found(&["core"], "hookspath"), [Path::new(".husky/_"), Path::new("/a b/h")]);
        assert_eq!(found(&["include", "includeif"], "path"), [Path::new("../x"), Path::new("~/y")]);
        assert!(found(&["core"], "path").is_empty());
        assert!(paths(b"[\n[\"\n=\n[core\nhookspath\n", &["core"], "hookspath").is_empty());
    }

    #[test]
    fn a_head_that_was_removed_leads_no_further_up() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(base.path().join(".git/objects")).unwrap();
        std::fs::create_dir_all(base.path().join("p/.git")).unwrap();
        std::fs::write(base.path().join(".git/HEAD"), "ref: x\n").unwrap();
        assert_eq!(find(&base.path().join("p")), find(base.path()), "past a stand-in");
        std::fs::write(base.path().join("p/.git/config"), "").unwrap();
        assert_eq!(find(&base.path().join("p")), None);
    }

    #[test]
    fn a_forged_git_file_widens_nothing() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("secret")).unwrap();
        std::fs::write(base.path().join(".git"), "gitdir: secret\n").unwrap();
        assert_eq!(find(base.path()), None);
    }
}
