//! What is looked for in a project: files by their names, and repositories.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::git;

/// Further `.claude/settings*.json`.
pub(super) fn settings(project: &Path) -> Vec<PathBuf> {
    named(&project.join(".claude"), |name| name.starts_with("settings") && name.ends_with(".json"))
}

/// Whether a .gitignore has a line for just this name in its own directory.
pub(super) fn says(ignore: &Path, name: &OsStr) -> bool {
    let name = name.as_bytes();
    let wanted = |line: &[u8]| {
        let line = line.trim_ascii_end();
        line == b"*" || name == line.strip_prefix(b"/").unwrap_or(line)
    };
    git::text(ignore).is_ok_and(|text| text.split(|byte| *byte == b'\n').any(wanted))
}

/// `.env` and its variants, without the examples that are meant to be read, and without Python environments, which
/// some name so (pyvenv.cfg is what makes one).
pub(super) fn environment_files(project: &Path) -> Vec<PathBuf> {
    let mut files = named(project, |name| {
        let examples = [".example", ".sample", ".template", ".dist", ".defaults"];
        (name == ".env" || name.starts_with(".env.")) && !examples.iter().any(|end| name.ends_with(end))
    });
    files.retain(|path| !path.join("pyvenv.cfg").exists());
    files
}

fn named(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(&wanted));
    let mut paths: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// How many directories of a project are looked into for repositories of their own.
const NESTED: usize = 128;

/// Where repositories below a project are: in the directories right below it, and where `.gitmodules` says.
/// Deeper ones are not looked for: that would be a walk through the whole project at every start.
pub(super) fn below(project: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    if let Ok(entries) = std::fs::read_dir(project) {
        let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(
            dirs.take(NESTED)
                .filter(|entry| entry.file_name() != ".git")
                .map(|entry| entry.path().join(".git"))
                .filter(|path| std::fs::symlink_metadata(path).is_ok()),
        );
    }
    let text = git::text(&project.join(".gitmodules")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let paths = text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim() == "path");
    for (_, path) in paths.take(NESTED) {
        let path = project.join(path.trim().trim_matches('"')).join(".git");
        if !found.contains(&path) && std::fs::symlink_metadata(&path).is_ok() {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_without_examples() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".env", ".env.local", ".env.example", ".envrc", "env"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir_all(dir.path().join(".env.py")).unwrap();
        std::fs::write(dir.path().join(".env.py/pyvenv.cfg"), "").unwrap();
        std::fs::create_dir_all(dir.path().join(".env.d")).unwrap();
        let names: Vec<_> =
            environment_files(dir.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, [".env", ".env.d", ".env.local"]);
    }
}
