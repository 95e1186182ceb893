//! Agents that bring a sandbox of their own, which cannot be put up inside this one: it takes mounts. They start, and
//! then no command of theirs runs; so it is said before. And what else codex needs to be told to work in here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::git;
use crate::host::Host;

/// Said when bubblewrap was started.
pub(crate) const BUBBLEWRAP: &str = "bubblewrap cannot work in here: a sandbox inside this one may not mount; switch off the \
     program's own sandbox (this one is around it), or run it outside";

const CODEX_SANDBOX: &str = "codex cannot put up its own sandbox in here, and runs no command without it: switch it off with \
     --sandbox danger-full-access (this one is around it)";

const CODEX_SERVER: &str = "codex would leave its work to a server outside of this sandbox, which is out of reach: interactive, it \
     needs --no-daemon";

const CLAUDE_SANDBOX: &str = "claude's settings switch on a sandbox of its own, which cannot be put up in here, so that its commands \
     fail: start it with --settings '{\"sandbox\":{\"enabled\":false}}' (this one is around it)";

/// What to say before such a COMMAND runs.
pub(crate) fn hints(command: &[OsString], host: &Host) -> Vec<&'static str> {
    let Some((program, words)) = command.split_first() else { return Vec::new() };
    match Path::new(program).file_name().map(OsStrExt::as_bytes) {
        Some(b"bwrap") => vec![BUBBLEWRAP],
        Some(b"codex") => codex(words, host),
        Some(b"claude") if claude_has_its_own(words, host) => vec![CLAUDE_SANDBOX],
        _ => Vec::new(),
    }
}

fn codex(words: &[OsString], host: &Host) -> Vec<&'static str> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let mut hints = Vec::new();
    if uses_its_own(&words, configuration(host).as_deref()) {
        hints.push(CODEX_SANDBOX);
    }
    // Versions without a server do not know the option.
    if asks_the_server(&words) && home(host).is_some_and(|home| home.join("app-server-control").exists()) {
        hints.push(CODEX_SERVER);
    }
    hints
}

fn home(host: &Host) -> Option<PathBuf> {
    let moved = host.variables.get("CODEX_HOME").filter(|home| !home.is_empty());
    moved.map(PathBuf::from).or_else(|| host.home.as_ref().map(|home| home.join(".codex")))
}

fn configuration(host: &Host) -> Option<String> {
    let text = git::text(&home(host)?.join("config.toml")).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Whether codex's configuration says something of a project, by which it loads the project's own settings.
pub(crate) fn codex_knows(project: &Path, host: &Host) -> bool {
    configuration(host).is_some_and(|text| names(&text, project))
}

fn names(configuration: &str, project: &Path) -> bool {
    project.ancestors().any(|dir| dir.to_str().is_some_and(|dir| configuration.contains(&format!("{dir:?}"))))
}

/// Whether claude's settings, the user's and the project's, switch its sandbox on.
fn claude_has_its_own(words: &[OsString], host: &Host) -> bool {
    let user = host.home.as_ref().map(|_| host.expand(&host.agent_path("~/.claude")));
    let project = host.cwd.as_ref().map(|dir| dir.join(".claude"));
    let files = user
        .into_iter()
        .chain(project)
        .flat_map(|dir| [dir.join("settings.json"), dir.join("settings.local.json")]);
    // Said by hand, it is the last word.
    !words.iter().any(|word| word == "--settings")
        && files.filter_map(|file| git::text(&file).ok()).any(|text| switches_on(&text))
}

fn switches_on(settings: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(settings)
        .is_ok_and(|value| value["sandbox"]["enabled"] == true)
}

/// Calls of codex that run no command of a model's.
const APART: [&str; 14] = [
    "--version",
    "-V",
    "--help",
    "-h",
    "login",
    "logout",
    "mcp",
    "mcp-server",
    "app-server",
    "completion",
    "features",
    "help",
    "update",
    "doctor",
];

/// Whether codex, called with these words, runs commands, and in its own sandbox.
fn uses_its_own(words: &[&str], configuration: Option<&str>) -> bool {
    // --sandbox danger-full-access, -c sandbox_mode="danger-full-access" or --dangerously-bypass-...
    let off = |word: &&str| *word == "--yolo" || word.contains("danger") || APART.contains(word);
    let configured = configuration.is_some_and(|text| {
        text.lines()
            .any(|line| line.trim_start().starts_with("sandbox_mode") && line.contains("danger-full-access"))
    });
    !configured && !words.iter().any(off)
}

/// Whether codex, called with these words, leaves all work to its server.
fn asks_the_server(words: &[&str]) -> bool {
    let itself = ["exec", "e", "review", "--no-daemon"];
    !words.iter().any(|word| itself.contains(word) || APART.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(words: &str, configuration: Option<&str>) -> bool {
        uses_its_own(&words.split_whitespace().collect::<Vec<_>>(), configuration)
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

    #[test]
    fn claude_is_told_from_its_settings() {
        assert!(switches_on(b"{\"sandbox\": {\"enabled\": true}, \"x\": 1}"));
        for text in ["{}", "[]", "", "{\"sandbox\": true}", "{\"sandbox\": {\"enabled\": false}}"] {
            assert!(!switches_on(text.as_bytes()), "{text}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".claude")).unwrap();
        let host = Host { cwd: Some(dir.path().into()), ..Host::default() };
        assert!(hints(&["claude".into()], &host).is_empty());
        std::fs::write(dir.path().join(".claude/settings.local.json"), "{\"sandbox\":{\"enabled\":true}}")
            .unwrap();
        assert_eq!(hints(&["/bin/claude".into(), "-p".into()], &host), [CLAUDE_SANDBOX]);
        assert!(hints(&["claude".into(), "--settings".into(), "{}".into()], &host).is_empty());
    }

    #[test]
    fn codex_alone_asks_its_server() {
        let asks = |words: &str| asks_the_server(&words.split_whitespace().collect::<Vec<_>>());
        for words in ["", "-m model", "resume --last", "fix_it"] {
            assert!(asks(words), "{words}");
        }
        for words in ["--no-daemon", "-m model exec x", "resume --last --no-daemon", "--help", "login"] {
            assert!(!asks(words), "{words}");
        }
    }
}
