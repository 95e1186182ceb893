//! The command line, read by hand.
//!
//! A sandbox is started in front of every command, so its own start must cost next to nothing: building
//! clap's command alone takes longer than everything else that is done here. This parser knows the same
//! options as [`crate::cli`] (a test compares the two) and leaves help, version and every error to clap.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verb {
    /// Run COMMAND inside.
    #[default]
    Run,
    /// Print the plan.
    Explain,
    /// Say what this host can enforce.
    Doctor,
    /// Observe COMMAND and write the profile that it needs.
    Learn,
}

impl Verb {
    /// The verbs that are words on the command line.
    pub const WORDS: [(&str, Verb); 3] =
        [("explain", Verb::Explain), ("doctor", Verb::Doctor), ("learn", Verb::Learn)];
}

/// An option of the policy; the name on the command line is in [`OPTIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the option of its name, described in cli.rs")]
pub enum Opt {
    Rw,
    Rwx,
    Ro,
    Rox,
    Net,
    ConnectTcp,
    BindTcp,
    Unix,
    UnixAll,
    NoUnix,
    Env,
    EnvKeep,
    EnvClean,
    Protect,
    NoProtect,
    Profile,
    Config,
    Rlimit,
    KeepFd,
    NoPtrace,
    DieWithParent,
    Check,
    Require,
    StatusFd,
    StatusFile,
    ExplainDenials,
    Json,
    Output,
}

/// Name, option, whether it takes a value.
pub const OPTIONS: [(&str, Opt, bool); 28] = [
    ("rw", Opt::Rw, true),
    ("rwx", Opt::Rwx, true),
    ("ro", Opt::Ro, true),
    ("rox", Opt::Rox, true),
    ("net", Opt::Net, true),
    ("connect-tcp", Opt::ConnectTcp, true),
    ("bind-tcp", Opt::BindTcp, true),
    ("unix", Opt::Unix, true),
    ("unix-all", Opt::UnixAll, false),
    ("no-unix", Opt::NoUnix, false),
    ("env", Opt::Env, true),
    ("env-keep", Opt::EnvKeep, true),
    ("env-clean", Opt::EnvClean, false),
    ("protect", Opt::Protect, true),
    ("no-protect", Opt::NoProtect, false),
    ("profile", Opt::Profile, true),
    ("config", Opt::Config, true),
    ("rlimit", Opt::Rlimit, true),
    ("keep-fd", Opt::KeepFd, true),
    ("no-ptrace", Opt::NoPtrace, false),
    ("die-with-parent", Opt::DieWithParent, false),
    ("check", Opt::Check, false),
    ("require", Opt::Require, false),
    ("status-fd", Opt::StatusFd, true),
    ("status-file", Opt::StatusFile, true),
    ("explain-denials", Opt::ExplainDenials, false),
    ("json", Opt::Json, false),
    ("output", Opt::Output, true),
];

/// The options of `explain` and `learn` that the others do not have.
const ONLY: [(Opt, &[Verb]); 3] = [
    (Opt::Json, &[Verb::Explain, Verb::Doctor]),
    (Opt::Output, &[Verb::Learn]),
    (Opt::ExplainDenials, &[Verb::Run]),
];

/// The command line as words: nothing is checked yet but the shape.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Args {
    /// What to do.
    pub verb: Verb,
    /// The options in the order given; the value is empty for a switch.
    pub options: Vec<(Opt, OsString)>,
    /// COMMAND and its arguments.
    pub command: Vec<OsString>,
}

/// Not for this parser: help, version, or an error that clap words better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsClap;

impl Args {
    /// Reads the words after the program's name.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, NeedsClap> {
        let mut words = words.into_iter().peekable();
        let mut args = Args::default();
        if let Some(first) = words.peek()
            && let Some((_, verb)) = Verb::WORDS.iter().find(|(name, _)| first == OsStr::new(name))
        {
            args.verb = *verb;
            words.next();
        }
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                args.command = words.collect();
                break;
            }
            let long = bytes.strip_prefix(b"--").ok_or(NeedsClap)?;
            let equals = long.iter().position(|byte| *byte == b'=');
            let name = &long[..equals.unwrap_or(long.len())];
            let (_, opt, takes_value) =
                OPTIONS.iter().find(|(known, _, _)| known.as_bytes() == name).ok_or(NeedsClap)?;
            if !allowed(*opt, args.verb) {
                return Err(NeedsClap);
            }
            let value = match (takes_value, equals) {
                (false, None) => OsString::new(),
                (false, Some(_)) => return Err(NeedsClap),
                (true, Some(at)) => OsString::from_vec(long[at + 1..].to_vec()),
                (true, None) => words.next().ok_or(NeedsClap)?,
            };
            args.options.push((*opt, value));
        }
        match args.verb {
            Verb::Run | Verb::Learn if args.command.is_empty() => Err(NeedsClap),
            Verb::Doctor if !args.command.is_empty() => Err(NeedsClap),
            _ => Ok(args),
        }
    }

    /// Whether a switch was given.
    pub fn has(&self, opt: Opt) -> bool {
        self.options.iter().any(|(given, _)| *given == opt)
    }

    /// All values of an option.
    pub fn all(&self, opt: Opt) -> impl Iterator<Item = &OsStr> {
        self.options.iter().filter(move |(given, _)| *given == opt).map(|(_, value)| value.as_os_str())
    }

    /// The last value of an option: a later one wins.
    pub fn last(&self, opt: Opt) -> Option<&OsStr> {
        self.options.iter().rev().find(|(given, _)| *given == opt).map(|(_, value)| value.as_os_str())
    }
}

/// Whether a verb has an option.
pub(crate) fn allowed(opt: Opt, verb: Verb) -> bool {
    if verb == Verb::Doctor {
        return opt == Opt::Json;
    }
    ONLY.iter().find(|(only, _)| *only == opt).is_none_or(|(_, verbs)| verbs.contains(&verb))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(words: &[&str]) -> Result<Args, NeedsClap> {
        Args::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_and_command_are_told_apart() {
        let args =
            parse(&["--rw", "a", "--ro=b=c", "--unix-all", "--rw", "--ro", "--", "x", "--rw", ""]).unwrap();
        assert_eq!(args.all(Opt::Rw).collect::<Vec<_>>(), ["a", "--ro"]);
        assert_eq!(args.last(Opt::Ro), Some(OsStr::new("b=c")));
        assert!(args.has(Opt::UnixAll));
        assert_eq!(args.command, ["x", "--rw", ""]);
        assert_eq!(parse(&["explain", "--json"]).unwrap().verb, Verb::Explain);
        assert_eq!(parse(&["--", "explain"]).unwrap().command, ["explain"]);
    }

    #[test]
    fn the_rest_is_for_clap() {
        for words in [
            &[][..],
            &["--"],
            &["-h"],
            &["--help"],
            &["--version"],
            &["true"],
            &["--rw"],
            &["--unix-all=1", "--", "x"],
            &["--json", "--", "x"],
            &["doctor", "--rw", "x"],
            &["--nope", "--", "x"],
        ] {
            assert_eq!(parse(words), Err(NeedsClap), "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn never_loses_a_word_of_the_command(command in proptest::collection::vec(".*", 1..5)) {
            let mut words = vec!["--rw".to_owned(), "d".to_owned(), "--".to_owned()];
            words.extend(command.clone());
            let args = Args::parse(words.into_iter().map(OsString::from)).unwrap();
            prop_assert_eq!(args.command, command.into_iter().map(OsString::from).collect::<Vec<_>>());
        }
    }
}
