//! The policy: what was asked for, as one checked value, before the host is looked at.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use agor_common::config;

use crate::args::{Args, Opt};
use crate::base::TEMPORARY;
use crate::error::Error;
use crate::host::Host;
use crate::profile::{self, Base, NetMode, Resolved, Settings, UnixMode};
use crate::rights::Rights;
use crate::rlimit::Limit;

/// Where a grant comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An option on the command line.
    Flag,
    /// A profile of this name.
    Profile(String),
    /// A profile of this name, as the configuration has it: the user's own word too.
    Configured(String),
    /// Built in, with the reason.
    BuiltIn(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Flag => f.write_str("command line"),
            Origin::Profile(name) | Origin::Configured(name) => write!(f, "profile {name}"),
            Origin::BuiltIn(why) => f.write_str(why),
        }
    }
}

impl Origin {
    /// Whether the user named it, on the command line or in the configuration.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self, Origin::Flag | Origin::Configured(_))
    }
}

/// One path and what may be done below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Absolute, as the user named it (links not followed).
    pub path: PathBuf,
    /// What is allowed.
    pub rights: Rights,
    /// Who granted it.
    pub origin: Origin,
}

/// The directories of the agents themselves, as profiles spell them.
const AGENT_HOMES: [&str; 3] = ["~/.claude", "~/.codex", "~/.aider"];

const AGENT_HOME: &str = "the agent's own directory";

impl Grant {
    /// Whether sockets of programs outside stay out of reach in it, although it may be written: in a temporary
    /// directory, and where an agent's background server listens, which would do outside what it is told inside.
    pub(crate) fn without_sockets(&self) -> bool {
        matches!(self.origin, Origin::BuiltIn(why) if why == AGENT_HOME || why == TEMPORARY)
    }
}

/// Which variables reach COMMAND.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvPolicy {
    /// Only the basic ones and those that are kept.
    pub clean: bool,
    /// Removed, beyond [`crate::environment::INJECTION`].
    pub drop: Vec<OsString>,
    /// Kept whatever else says.
    pub keep: Vec<OsString>,
    /// Set.
    pub set: Vec<(OsString, OsString)>,
}

/// TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetPolicy {
    /// Whether there is any.
    pub mode: NetMode,
    /// Ports to connect to, under [`NetMode::Ports`].
    pub connect: Vec<u16>,
    /// Ports to bind, under [`NetMode::Ports`].
    pub bind: Vec<u16>,
}

/// Unix sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixPolicy {
    /// Which.
    pub mode: UnixMode,
    /// The listed ones.
    pub paths: Vec<PathBuf>,
}

/// Everything that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The profile it started from.
    pub profile: String,
    /// Which base lies below the profile.
    pub base: Base,
    /// The configuration file that was read.
    pub config: Option<PathBuf>,
    /// Grants, those of the command line last. The plan takes them over and merges them.
    pub grants: Vec<Grant>,
    /// Whether anything is protected.
    pub protect: bool,
    /// Never writable; [`Origin::Flag`] and profiles, the built-in ones are found in the plan.
    pub protected: Vec<(PathBuf, Origin)>,
    /// Not readable although a parent is.
    pub hidden: Vec<(PathBuf, Origin)>,
    /// TCP and what goes with it.
    pub net: NetPolicy,
    /// Unix sockets.
    pub unix: UnixPolicy,
    /// Environment.
    pub env: EnvPolicy,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// Descriptors that stay open.
    pub keep_fds: Vec<i32>,
    /// No ptrace at all.
    pub no_ptrace: bool,
    /// Die with the parent.
    pub die_with_parent: bool,
    /// Search for hard links.
    pub check: bool,
    /// Partial is failure.
    pub require: bool,
}

fn usage(option: &'static str, value: &OsStr, why: impl Into<String>) -> Error {
    Error::Usage { option, value: value.to_string_lossy().into_owned(), why: why.into() }
}

fn ports(option: &'static str, value: &OsStr, into: &mut Vec<u16>) -> Result<(), Error> {
    let text = value.to_str().unwrap_or_default();
    for part in text.split(',') {
        into.push(
            part.trim().parse().map_err(|_| usage(option, value, "a port is a number from 0 to 65535"))?,
        );
    }
    Ok(())
}

/// The table `[sandbox]`, and the file that it is from.
fn settings(args: &Args, host: &Host) -> Result<(Settings, Option<PathBuf>), Error> {
    match config::find(args.last(Opt::Config).map(Path::new), &host.env)? {
        Some((path, text)) => parsed(path, &text),
        None => Ok((Settings::default(), None)),
    }
}

/// Apart, like whatever most starts do not need: what they do need then lies close together.
#[cold]
fn parsed(path: PathBuf, text: &str) -> Result<(Settings, Option<PathBuf>), Error> {
    Ok((config::parse(text, "sandbox", &path)?, Some(path)))
}

impl Policy {
    /// From the command line and the configuration file, for `host`.
    pub fn build(args: &Args, host: &Host) -> Result<Policy, Error> {
        let (settings, config) = settings(args, host)?;
        let named = match args.last(Opt::Profile) {
            Some(name) => Some(
                name.to_str().ok_or_else(|| usage("--profile", name, "not a profile's name"))?.to_owned(),
            ),
            None => settings.default_profile.clone(),
        };
        let name = named.unwrap_or_else(|| {
            profile::for_command(args.command.first().map(OsString::as_os_str)).to_owned()
        });
        let resolved = profile::resolve(&name, &settings.profile)?;
        let mut policy = Policy::from_profile(&resolved, host)?;
        policy.config = config;
        let required = host.variables.get("AGOR_SANDBOX_REQUIRE").is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            !["", "0", "n", "no", "f", "false", "off"].iter().any(|falsy| value == OsStr::new(falsy))
        });
        policy.require = settings.require || required;
        policy.add_flags(args, host)?;
        Ok(policy)
    }

    fn from_profile(resolved: &Resolved, host: &Host) -> Result<Policy, Error> {
        let profile = &resolved.profile;
        let refused = |why: String| Error::Profile { name: resolved.name.clone(), why };
        let named = |path: &String| {
            if path.is_empty() {
                return Err(refused("one of its paths is empty".into()));
            }
            if host.expand(Path::new(path)).is_relative() {
                let why = format!("{path}: the working directory is gone, to which it is relative");
                return Err(refused(why));
            }
            Ok(())
        };
        for path in
            [&profile.protected_paths, &profile.hidden_paths, &profile.unix_paths].into_iter().flatten()
        {
            named(path)?;
        }
        if let Some(name) = profile.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(refused(format!("env: {name:?} is not a variable's name")));
        }
        let origin = Origin::Profile(resolved.name.clone());
        let mut grants = Vec::new();
        for (paths, own, rights) in [
            (&profile.read_only_paths, &resolved.own.read_only_paths, Rights::RO),
            (&profile.read_execute_paths, &resolved.own.read_execute_paths, Rights::ROX),
            (&profile.read_write_paths, &resolved.own.read_write_paths, Rights::RW),
            (&profile.read_write_execute_paths, &resolved.own.read_write_execute_paths, Rights::RWX),
        ] {
            // There may be thousands.
            let own: BTreeSet<&String> = own.iter().collect();
            for path in paths {
                named(path)?;
                let is_home = AGENT_HOMES.contains(&path.as_str());
                let origin = if is_home && rights.write {
                    Origin::BuiltIn(AGENT_HOME)
                } else if own.contains(path) {
                    Origin::Configured(resolved.name.clone())
                } else {
                    origin.clone()
                };
                grants.push(Grant { path: host.expand(&host.agent_path(path)), rights, origin });
            }
        }
        // What is built in first, so that the user's word is the last.
        grants.sort_by_key(|grant| grant.origin.is_asked());
        let expand = |paths: &[String]| {
            paths.iter().map(|path| (host.expand(&host.agent_path(path)), origin.clone())).collect()
        };
        let strict = resolved.base == Base::Strict;
        let mode = match profile.net {
            Some(mode) => mode,
            None if strict => NetMode::None,
            None => NetMode::All,
        };
        let mut limits = Vec::new();
        for (name, value) in &profile.rlimits {
            let limit = Limit::parse(name, value);
            limits.push(limit.map_err(|why| refused(format!("rlimits.{name} = {value:?}: {why}")))?);
        }
        let os = |list: &[String]| list.iter().map(OsString::from).collect::<Vec<_>>();
        let mut drop = os(&profile.env_drop);
        if strict {
            drop.extend(crate::environment::SECRETS.map(OsString::from));
        }
        Ok(Policy {
            profile: resolved.name.clone(),
            base: resolved.base,
            config: None,
            grants,
            protect: true,
            protected: expand(&profile.protected_paths),
            hidden: expand(&profile.hidden_paths),
            net: NetPolicy { mode, connect: profile.connect_tcp.clone(), bind: profile.bind_tcp.clone() },
            unix: UnixPolicy {
                mode: profile.unix.unwrap_or(UnixMode::Listed),
                paths: profile.unix_paths.iter().map(|path| host.expand(Path::new(path))).collect(),
            },
            env: EnvPolicy {
                clean: profile.env_clean.unwrap_or(false),
                drop,
                keep: os(&profile.env_keep),
                set: profile.env.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            },
            limits,
            keep_fds: Vec::new(),
            no_ptrace: false,
            die_with_parent: false,
            check: false,
            require: false,
        })
    }

    fn add_flags(&mut self, args: &Args, host: &Host) -> Result<(), Error> {
        let mut explicit_net = None;
        let mut ports_named = false;
        let mut sockets_named = false;
        for (opt, value) in &args.options {
            let value = value.as_os_str();
            let path = |option| -> Result<PathBuf, Error> {
                if value.is_empty() {
                    return Err(usage(option, value, "a path is needed"));
                }
                let path = host.expand(Path::new(value));
                if path.is_relative() {
                    return Err(usage(
                        option,
                        value,
                        "the working directory is gone, to which it is relative",
                    ));
                }
                Ok(path)
            };
            let mut grant = |option: &'static str, rights| -> Result<(), Error> {
                self.grants.push(Grant { path: path(option)?, rights, origin: Origin::Flag });
                Ok(())
            };
            match opt {
                Opt::Rw => grant("--rw", Rights::RW)?,
                Opt::Rwx => grant("--rwx", Rights::RWX)?,
                Opt::Ro => grant("--ro", Rights::RO)?,
                Opt::Rox => grant("--rox", Rights::ROX)?,
                Opt::Net => {
                    explicit_net = Some(match value.as_bytes() {
                        b"none" => NetMode::None,
                        b"ports" => NetMode::Ports,
                        b"all" => NetMode::All,
                        _ => return Err(usage("--net", value, "it is none, ports or all")),
                    });
                }
                Opt::ConnectTcp => {
                    ports("--connect-tcp", value, &mut self.net.connect)?;
                    ports_named = true;
                }
                Opt::BindTcp => {
                    ports("--bind-tcp", value, &mut self.net.bind)?;
                    ports_named = true;
                }
                Opt::Unix => {
                    self.unix.paths.push(path("--unix")?);
                    sockets_named = true;
                }
                Opt::UnixAll => self.unix.mode = UnixMode::All,
                Opt::NoUnix => self.unix.mode = UnixMode::None,
                Opt::Env => self.env_flag(value)?,
                Opt::EnvKeep if value.is_empty() => {
                    return Err(usage("--env-keep", value, "a variable's name is needed"));
                }
                Opt::EnvKeep => self.env.keep.push(value.to_owned()),
                Opt::EnvClean => self.env.clean = true,
                Opt::Protect => self.protected.push((path("--protect")?, Origin::Flag)),
                Opt::NoProtect => self.protect = false,
                Opt::Rlimit => self.limits.push(Limit::parse_flag(value)?),
                Opt::KeepFd => {
                    let fd = value.to_str().and_then(|text| text.parse().ok()).filter(|fd| *fd >= 0);
                    self.keep_fds
                        .push(fd.ok_or_else(|| usage("--keep-fd", value, "not a descriptor's number"))?);
                }
                Opt::NoPtrace => self.no_ptrace = true,
                Opt::DieWithParent => self.die_with_parent = true,
                Opt::Check => self.check = true,
                Opt::Require => self.require = true,
                Opt::Profile
                | Opt::Config
                | Opt::StatusFd
                | Opt::StatusFile
                | Opt::ExplainDenials
                | Opt::Json
                | Opt::Output => {}
            }
        }
        match (explicit_net, ports_named) {
            (Some(mode @ (NetMode::None | NetMode::All)), true) => {
                let mode = OsStr::new(if mode == NetMode::None { "none" } else { "all" });
                return Err(usage("--net", mode, "contradicts --connect-tcp and --bind-tcp"));
            }
            (Some(mode), _) => self.net.mode = mode,
            (None, true) => self.net.mode = NetMode::Ports,
            (None, false) => {}
        }
        if sockets_named && self.unix.mode == UnixMode::None {
            if args.has(Opt::NoUnix) {
                return Err(usage("--no-unix", OsStr::new(""), "contradicts --unix"));
            }
            // As with ports: naming one is more than the profile's none.
            self.unix.mode = UnixMode::Listed;
        }
        if !self.protect && self.protected.iter().any(|(_, origin)| *origin == Origin::Flag) {
            return Err(usage("--no-protect", OsStr::new(""), "contradicts --protect"));
        }
        Ok(())
    }

    fn env_flag(&mut self, value: &OsStr) -> Result<(), Error> {
        let bytes = value.as_bytes();
        match bytes.iter().position(|byte| *byte == b'=') {
            Some(0) => Err(usage("--env", value, "a variable's name is needed")),
            Some(at) => {
                let (key, value) = (OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]));
                self.env.set.push((key.to_owned(), value.to_owned()));
                Ok(())
            }
            None if bytes.is_empty() => Err(usage("--env", value, "a variable's name is needed")),
            None => {
                self.env.keep.push(value.to_owned());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn build(words: &[&str]) -> Result<Policy, Error> {
        let args = Args::parse(words.iter().map(OsString::from)).unwrap();
        let host = Host { cwd: Some("/w".into()), home: Some("/h".into()), ..Host::default() };
        let resolved = profile::resolve("default", &Default::default())?;
        let mut policy = Policy::from_profile(&resolved, &host)?;
        policy.add_flags(&args, &host)?;
        Ok(policy)
    }

    #[test]
    fn ports_are_ports() {
        let net = build(&["--connect-tcp", "443,80", "--bind-tcp=0", "--", "x"]).unwrap().net;
        assert_eq!((net.mode, net.connect, net.bind), (NetMode::Ports, vec![443, 80], vec![0]));
        for bad in ["65536", "-1", "http", "", "1,,2"] {
            assert!(build(&["--connect-tcp", bad, "--", "x"]).is_err(), "{bad}");
        }
        assert!(build(&["--net", "none", "--connect-tcp", "1", "--", "x"]).is_err());
        assert_eq!(build(&["--", "x"]).unwrap().net.mode, NetMode::All);
    }

    #[test]
    fn a_socket_that_is_named_is_meant() {
        assert!(build(&["--no-unix", "--unix", "s", "--", "x"]).is_err());
        assert!(build(&["--unix", "s", "--no-unix", "--", "x"]).is_err());
        let own = Profile { unix: Some(UnixMode::None), ..Profile::default() };
        let own = [("own".to_owned(), own)].into();
        let host = Host { cwd: Some("/w".into()), ..Host::default() };
        let mut policy = Policy::from_profile(&profile::resolve("own", &own).unwrap(), &host).unwrap();
        let args = Args::parse(["--unix", "s", "--", "x"].map(OsString::from)).unwrap();
        policy.add_flags(&args, &host).unwrap();
        assert_eq!(policy.unix.mode, UnixMode::Listed);
    }

    #[test]
    fn variables_are_set_or_passed_on() {
        let env = build(&["--env", "A=b=c", "--env", "D", "--", "x"]).unwrap().env;
        assert_eq!(env.set, [(OsString::from("A"), OsString::from("b=c"))]);
        assert_eq!(env.keep, ["D"]);
        assert!(build(&["--env", "=x", "--", "x"]).is_err());
    }

    #[test]
    fn paths_are_absolute() {
        let policy = build(&["--rw", "a", "--ro", "~/b", "--", "x"]).unwrap();
        let paths: Vec<_> = policy.grants.iter().map(|grant| grant.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/w/a", "/h/b"]);
        for option in ["--rw", "--unix", "--protect", "--env-keep"] {
            assert!(build(&[option, "", "--", "x"]).is_err(), "{option}");
        }
    }

    #[test]
    fn profiles_name_paths_and_variables() {
        let host = Host { cwd: Some("/w".into()), ..Host::default() };
        let from = |text: &str| {
            let text = format!("[sandbox.profile.own]\n{text}\n");
            let settings: Settings = config::parse(&text, "sandbox", Path::new("c.toml")).unwrap();
            Policy::from_profile(&profile::resolve("own", &settings.profile).unwrap(), &host)
        };
        assert_eq!(from("read_only_paths = ['x']").unwrap().grants[0].path, Path::new("/w/x"));
        for bad in
            ["read_only_paths = ['']", "hidden_paths = ['']", "env = { '' = 'x' }", "env = { 'A=B' = 'x' }"]
        {
            assert!(from(bad).is_err(), "{bad}");
        }
        let gone = Host::default();
        assert!(gone.expand(Path::new("x")).is_relative());
    }
}
