//! Profiles: named starting points of a policy, built in or from the configuration file.
//!
//! `[sandbox.profile.NAME]` adds to what it `extends` (`default` when it says nothing; `strict` is almost
//! nothing). Lists are joined, single values replaced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The table `[sandbox]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// As `--require`.
    pub require: bool,
    /// The profile to start from without `--profile`.
    pub default_profile: Option<String>,
    /// `[sandbox.profile.NAME]`
    pub profile: BTreeMap<String, Profile>,
}

/// What COMMAND may do with TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetMode {
    /// No network at all.
    None,
    /// The listed TCP ports and nothing else.
    Ports,
    /// Everything.
    All,
}

/// Which Unix sockets of processes outside COMMAND may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnixMode {
    /// No Unix sockets at all.
    None,
    /// The listed ones, and those in directories that are granted read-write.
    Listed,
    /// All that file permissions allow.
    All,
}

/// A profile as it stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The profile that this one adds to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// `--rw`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_write_paths: Vec<String>,
    /// `--rwx`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_write_execute_paths: Vec<String>,
    /// `--ro`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_only_paths: Vec<String>,
    /// `--rox`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_execute_paths: Vec<String>,
    /// `--protect`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected_paths: Vec<String>,
    /// Paths that cannot be read although their parent can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden_paths: Vec<String>,
    /// `--net`; of a profile that names ports without it: "ports"
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<NetMode>,
    /// `--connect-tcp`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_tcp: Vec<u16>,
    /// `--bind-tcp`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind_tcp: Vec<u16>,
    /// `--unix-all`, `--no-unix`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix: Option<UnixMode>,
    /// `--unix`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unix_paths: Vec<String>,
    /// `--env KEY=VALUE`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `--env-keep`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_keep: Vec<String>,
    /// More names to remove, with `*` at the beginning or the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_drop: Vec<String>,
    /// `--env-clean`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_clean: Option<bool>,
    /// `--rlimit`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<String, String>,
}

/// The profiles that are built in.
pub const BUILT_IN: [&str; 6] = ["default", "claude", "codex", "aider", "node", "strict"];

/// Where a chain of profiles ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Project, temporary directory, data directory, system, tools.
    Default,
    /// Only what a program needs to be loaded.
    Strict,
}

/// A chain, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name that was asked for.
    pub name: String,
    /// What lies below.
    pub base: Base,
    /// The profiles between the base and the name, joined.
    pub profile: Profile,
    /// What of it is from the configuration, and the user's own word.
    pub own: Profile,
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}

/// The part of a built-in profile that is on top of `default`; `None` for the two bases and unknown names.
fn built_in(name: &str) -> Option<Profile> {
    match name {
        // Claude Code writes sessions, todos and its state there and does not start otherwise; its settings
        // hold hooks that run outside of any sandbox, so they stay protected.
        "claude" => Some(Profile {
            read_write_paths: strings(&["~/.claude", "~/.claude.json", "~/.cache/claude-cli-nodejs"]),
            read_execute_paths: strings(&["~/.local/share/claude"]),
            protected_paths: strings(&["~/.claude/settings.json", "~/.claude/settings.local.json"]),
            ..Profile::default()
        }),
        // Codex keeps sessions and its log there; config.toml names the commands of its servers and hooks.
        "codex" => Some(Profile {
            read_write_paths: strings(&["~/.codex"]),
            protected_paths: strings(&["~/.codex/config.toml"]),
            ..Profile::default()
        }),
        "aider" => Some(Profile {
            read_write_paths: strings(&["~/.aider"]),
            read_only_paths: strings(&["~/.aider.conf.yml", "~/.aider.model.settings.yml"]),
            read_execute_paths: strings(&["~/.local/share/uv", "~/.local/pipx", "~/.local/share/pipx"]),
            ..Profile::default()
        }),
        "node" => Some(Profile {
            read_write_paths: strings(&["~/.npm", "~/.cache/node", "~/.cache/node-gyp", "~/.cache/yarn"]),
            read_execute_paths: strings(&["~/.nvm", "~/.volta", "~/.local/share/pnpm"]),
            read_only_paths: strings(&["~/.config/yarn"]),
            ..Profile::default()
        }),
        _ => None,
    }
}

impl Profile {
    fn names_ports(&self) -> bool {
        !self.connect_tcp.is_empty() || !self.bind_tcp.is_empty()
    }

    /// What the command line would not take together either.
    fn contradiction(&self) -> Option<&'static str> {
        match (self.net, self.unix) {
            (Some(NetMode::All), _) if self.names_ports() => {
                Some("net = \"all\" contradicts connect_tcp and bind_tcp")
            }
            (Some(NetMode::None), _) if self.names_ports() => {
                Some("net = \"none\" contradicts connect_tcp and bind_tcp")
            }
            (_, Some(UnixMode::None)) if !self.unix_paths.is_empty() => {
                Some("unix = \"none\" contradicts unix_paths")
            }
            _ => None,
        }
    }

    /// `self` with `over` on top.
    fn joined(mut self, over: Profile) -> Profile {
        // As on the command line: ports are the ports mode, whatever was there before.
        self.net = over.net.or(if over.names_ports() { Some(NetMode::Ports) } else { self.net });
        self.read_write_paths.extend(over.read_write_paths);
        self.read_write_execute_paths.extend(over.read_write_execute_paths);
        self.read_only_paths.extend(over.read_only_paths);
        self.read_execute_paths.extend(over.read_execute_paths);
        self.protected_paths.extend(over.protected_paths);
        self.hidden_paths.extend(over.hidden_paths);
        self.connect_tcp.extend(over.connect_tcp);
        self.bind_tcp.extend(over.bind_tcp);
        self.unix = over.unix.or(match self.unix {
            Some(UnixMode::None) if !over.unix_paths.is_empty() => Some(UnixMode::Listed),
            mode => mode,
        });
        self.unix_paths.extend(over.unix_paths);
        self.env.extend(over.env);
        self.env_keep.extend(over.env_keep);
        self.env_drop.extend(over.env_drop);
        self.env_clean = over.env_clean.or(self.env_clean);
        self.rlimits.extend(over.rlimits);
        self
    }
}

/// Finds `name` and everything that it extends. A profile of the file may extend a built-in one of the same
/// name; a circle is an error.
pub fn resolve(name: &str, own: &BTreeMap<String, Profile>) -> Result<Resolved, Error> {
    let mut layers = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    let mut current = name;
    let mut below = false;
    let base = loop {
        let refused = |why: String| Error::Profile { name: current.to_owned(), why };
        if !seen.contains(&current)
            && let Some(profile) = own.get(current)
        {
            if let Some(what) = profile.contradiction() {
                return Err(refused(what.into()));
            }
            seen.push(current);
            layers.push((profile.clone(), true));
            current =
                profile.extends.as_deref().unwrap_or(if current == "strict" { "strict" } else { "default" });
            below = true;
            continue;
        }
        // Again the same name: the built-in one of that name, if there is one.
        match current {
            "default" => break Base::Default,
            "strict" => break Base::Strict,
            _ => {}
        }
        match built_in(current) {
            Some(profile) => {
                layers.push((profile, false));
                if own.contains_key("default") && !seen.contains(&"default") {
                    current = "default";
                    continue;
                }
                break Base::Default;
            }
            None if seen.contains(&current) => return Err(refused("it extends itself".into())),
            None => {
                let mut names: Vec<&str> = BUILT_IN.to_vec();
                names.extend(own.keys().map(String::as_str));
                names.dedup();
                let missing = if below { "is extended and does not exist" } else { "no such profile" };
                return Err(refused(format!("{missing}; there are {}", names.join(", "))));
            }
        }
    };
    let (mut profile, mut own) = (Profile::default(), Profile::default());
    for (layer, is_own) in layers.into_iter().rev() {
        if is_own {
            own = own.joined(layer.clone());
        }
        profile = profile.joined(layer);
    }
    Ok(Resolved { name: name.to_owned(), base, profile, own })
}

/// The profile for a command when none is named: the agent's own, known by the program's name.
pub fn for_command(program: Option<&std::ffi::OsStr>) -> &'static str {
    let name =
        program.map(std::path::Path::new).and_then(|path| path.file_name()).and_then(|name| name.to_str());
    match name {
        Some("claude") => "claude",
        Some("codex") => "codex",
        Some("aider") => "aider",
        _ => "default",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> BTreeMap<String, Profile> {
        let settings: Settings =
            agor_common::config::parse(text, "sandbox", std::path::Path::new("agor.toml")).unwrap();
        settings.profile
    }

    #[test]
    fn chains_are_joined_from_the_bottom() {
        let own = own("[sandbox.profile.a]\nextends = 'b'\nread_write_paths = ['/a']\nnet = 'none'\n\
             [sandbox.profile.b]\nextends = 'claude'\nread_write_paths = ['/b']\nnet = 'all'\n");
        let a = resolve("a", &own).unwrap();
        assert_eq!(a.base, Base::Default);
        assert_eq!(a.profile.net, Some(NetMode::None));
        let paths = &a.profile.read_write_paths;
        assert_eq!(paths[paths.len() - 2..], ["/b", "/a"]);
        assert!(paths.contains(&"~/.claude".to_owned()));
    }

    #[test]
    fn who_names_ports_or_sockets_has_those_whatever_is_extended() {
        let own = own("[sandbox.profile.all]\nnet = 'all'\nunix = 'none'\n\
             [sandbox.profile.some]\nextends = 'all'\nconnect_tcp = [443]\nunix_paths = ['/s']\n\
             [sandbox.profile.again]\nextends = 'some'\nnet = 'all'\n\
             [sandbox.profile.a]\nnet = 'all'\nbind_tcp = [0]\n\
             [sandbox.profile.b]\nnet = 'none'\nconnect_tcp = [1]\n\
             [sandbox.profile.c]\nunix = 'none'\nunix_paths = ['/s']\n");
        let some = resolve("some", &own).unwrap().profile;
        assert_eq!((some.net, some.unix), (Some(NetMode::Ports), Some(UnixMode::Listed)));
        assert_eq!(resolve("again", &own).unwrap().profile.net, Some(NetMode::All));
        for name in ["a", "b", "c"] {
            let refused = resolve(name, &own).unwrap_err().to_string();
            assert!(refused.contains("contradicts"), "{refused}");
        }
    }

    #[test]
    fn a_file_may_change_a_built_in_profile() {
        let own = own("[sandbox.profile.default]\nread_only_paths = ['/opt']\n\
             [sandbox.profile.claude]\nextends = 'claude'\nread_write_paths = ['/c']\n");
        assert_eq!(resolve("default", &own).unwrap().profile.read_only_paths, ["/opt"]);
        let claude = resolve("claude", &own).unwrap().profile;
        assert!(claude.read_write_paths.contains(&"~/.claude".to_owned()));
        assert!(claude.read_write_paths.contains(&"/c".to_owned()));
        assert!(claude.read_only_paths.contains(&"/opt".to_owned()));
        assert!(resolve("codex", &own).unwrap().profile.read_only_paths.contains(&"/opt".to_owned()));
    }

    #[test]
    fn circles_and_unknown_names_are_errors() {
        let circle = own("[sandbox.profile.a]\nextends = 'b'\n[sandbox.profile.b]\nextends = 'a'\n");
        assert!(resolve("a", &circle).unwrap_err().to_string().contains("extends itself"));
        assert!(resolve("nope", &circle).unwrap_err().to_string().contains("no such profile"));
        assert_eq!(resolve("strict", &BTreeMap::new()).unwrap().base, Base::Strict);
        for name in BUILT_IN {
            resolve(name, &BTreeMap::new()).unwrap();
        }
    }
}
