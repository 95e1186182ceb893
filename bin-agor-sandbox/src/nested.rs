//! Programs that bring a sandbox of their own, which cannot be put up inside this one: it takes mounts; and what
//! codex's configuration says of that, and of projects.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::host::Host;

/// Said when bubblewrap was started.
pub(crate) const BUBBLEWRAP: &str = "bubblewrap cannot work in here: a sandbox inside this one may not mount; switch off the \
     program's own sandbox (this one is around it), or run it outside";

const CODEX: &str = "codex cannot put up its own sandbox in here, and runs no command without it: switch it off with \
     --sandbox danger-full-access (this one is around it)";

/// What to say before such a COMMAND runs.
pub(crate) fn hint(command: &[OsString], host: &Host) -> Option<&'static str> {
    let (program, words) = command.split_first()?;
    match Path::new(program).file_name()?.as_bytes() {
        b"bwrap" => Some(BUBBLEWRAP),
        b"codex" if uses_its_own(words, configuration(host).as_deref()) => Some(CODEX),
        _ => None,
    }
}

fn configuration(host: &Host) -> Option<String> {
    let moved = host.variables.get("CODEX_HOME").filter(|home| !home.is_empty());
    let home = moved.map(PathBuf::from).or_else(|| host.home.as_ref().map(|home| home.join(".codex")))?;
    std::fs::read_to_string(home.join("config.toml")).ok()
}

/// Whether codex's configuration says something of a project, by which it loads the project's own settings.
pub(crate) fn codex_knows(project: &Path, host: &Host) -> bool {
    configuration(host).is_some_and(|text| names(&text, project))
}

fn names(configuration: &str, project: &Path) -> bool {
    project.ancestors().any(|dir| dir.to_str().is_some_and(|dir| configuration.contains(&format!("{dir:?}"))))
}

/// Whether codex, called with these words, runs commands, and in its own sandbox.
fn uses_its_own(words: &[OsString], configuration: Option<&str>) -> bool {
    // --sandbox danger-full-access, -c sandbox_mode="danger-full-access" or --dangerously-bypass-...
    let off = |word: &OsString| word == "--yolo" || word.to_string_lossy().contains("danger");
    let only_says = |word: &OsString| ["--version", "-V", "--help", "-h"].iter().any(|known| word == known);
    let other = ["login", "logout", "mcp", "completion", "features", "help", "update", "doctor"];
    let runs = words.first().is_none_or(|first| !other.iter().any(|known| OsStr::new(known) == first));
    let configured = configuration.is_some_and(|text| {
        text.lines()
            .any(|line| line.trim_start().starts_with("sandbox_mode") && line.contains("danger-full-access"))
    });
    runs && !configured && !words.iter().any(|word| off(word) || only_says(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(words: &str, configuration: Option<&str>) -> bool {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        uses_its_own(&words, configuration)
    }

    #[test]
    fn a_project_is_known_by_itself_and_by_what_it_is_in() {
        let text = "[projects.\"/home/a/repository\"]\ntrust_level = \"trusted\"\n";
        assert!(names(text, Path::new("/home/a/repository")));
        assert!(names(text, Path::new("/home/a/repository/sub")));
        assert!(!names(text, Path::new("/home/a/repo")));
        assert!(!names(text, Path::new("/home/a")));
    }

    #[test]
    fn codex_is_told_from_its_words_and_its_configuration() {
        for words in ["", "exec fix", "--sandbox workspace-write", "-s read-only exec x", "resume --last"] {
            assert!(own(words, None), "{words}");
            assert!(own(words, Some("model = 'x'\n# sandbox_mode = \"danger-full-access\"\n")), "{words}");
            assert!(!own(words, Some("model = 'x'\nsandbox_mode = \"danger-full-access\"\n")), "{words}");
        }
        for words in [
            "--sandbox danger-full-access exec x",
            "-s danger-full-access",
            "--sandbox=danger-full-access",
            "-c sandbox_mode=\"danger-full-access\"",
            "exec --dangerously-bypass-approvals-and-sandbox x",
            "--yolo",
            "--version",
            "login --with-api-key",
            "mcp list",
        ] {
            assert!(!own(words, None), "{words}");
        }
    }
}
