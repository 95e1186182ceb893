//! Which variables reach COMMAND.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use crate::policy::EnvPolicy;
use crate::sys::variables::split;

/// Variables that make a loader or an interpreter run code of somebody else's choice: always removed unless
/// they are kept by name. `*` stands for the rest.
pub const INJECTION: [&str; 24] = [
    "LD_*",
    "DYLD_*",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "NODE_OPTIONS",
    "NODE_REPL_EXTERNAL_MODULE",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONBREAKPOINT",
    "PERL5OPT",
    "PERL5DB",
    "PERL5LIB",
    "RUBYOPT",
    "RUBYLIB",
    "LUA_INIT*",
    "BASH_ENV",
    "BASH_FUNC_*",
    "ENV",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "PROMPT_COMMAND",
    "SSLKEYLOGFILE",
];

/// Names of secrets, removed by the profile `strict` and by `env_drop`.
pub const SECRETS: [&str; 8] = [
    "*_TOKEN",
    "*_SECRET",
    "*_KEY",
    "*_PASSWORD",
    "*_PASSWD",
    "*_CREDENTIALS",
    "SSH_AUTH_SOCK",
    "DATABASE_URL",
];

/// What `--env-clean` leaves.
const BASIC: [&str; 24] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "TZ",
    "TMPDIR",
    "PWD",
    "HOSTNAME",
    "COLUMNS",
    "LINES",
    "EDITOR",
    "PAGER",
    "AGOR_*",
    "BTMSG_AGENT_ID",
    "TRACEPARENT",
    "TRACESTATE",
    "XDG_*",
];

/// Whether `name` fits a pattern: exact, `PREFIX*` or `*SUFFIX`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [prefix @ .., b'*'] => name.starts_with(prefix),
        [b'*', suffix @ ..] => name.ends_with(suffix),
        // Most differ here already.
        _ => pattern.first() == name.first() && name == pattern,
    }
}

/// The first letters of `INJECTION`, a bit for each from `@` on: most names begin with none of them.
const LETTERS: u32 = {
    let (mut letters, mut at) = (0, 0);
    while at < INJECTION.len() {
        let letter = INJECTION[at].as_bytes()[0];
        assert!(letter >= b'@' && letter < b'@' + 32);
        letters |= 1 << (letter - b'@');
        at += 1;
    }
    letters
};

fn injects(name: &[u8]) -> bool {
    let letter = name.first().map_or(32, |letter| letter.wrapping_sub(b'@'));
    letter < 32
        && LETTERS & (1 << letter) != 0
        && INJECTION.iter().any(|pattern| pattern.as_bytes()[0] == name[0] && fits(pattern.as_bytes(), name))
}

impl EnvPolicy {
    fn passes(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        let in_list = |list: &[OsString]| list.iter().any(|pattern| fits(pattern.as_bytes(), name));
        if in_list(&self.keep) {
            return true;
        }
        if self.clean && !BASIC.iter().any(|pattern| fits(pattern.as_bytes(), name)) {
            return false;
        }
        !(injects(name) || in_list(&self.drop))
    }

    /// The variables for COMMAND out of `inherited`, and the names that were left out. InvalidInput when a
    /// value that is to be set holds a NUL.
    pub fn filter<'a>(&self, inherited: impl ExactSizeIterator<Item = &'a CStr>) -> io::Result<Filtered<'a>> {
        let mut kept = Vec::with_capacity(inherited.len() + self.set.len() + 4);
        let mut removed = Vec::new();
        for entry in inherited {
            let Some((name, _)) = split(entry) else { continue };
            if self.set.iter().any(|(set, _)| set == name) {
                continue;
            }
            if self.passes(name) {
                kept.push(Cow::Borrowed(entry));
            } else {
                removed.push(name);
            }
        }
        let mut filtered = Filtered { kept, removed };
        for (at, (name, value)) in self.set.iter().enumerate() {
            // The last one of a name wins.
            if !self.set[at + 1..].iter().any(|(later, _)| later == name) {
                filtered.push(name, value)?;
            }
        }
        Ok(filtered)
    }
}

/// An environment with the policy applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered<'a> {
    /// `NAME=VALUE`, for COMMAND.
    pub kept: Vec<Cow<'a, CStr>>,
    /// Names that were left out.
    pub removed: Vec<&'a OsStr>,
}

impl Filtered<'_> {
    fn push(&mut self, name: &OsStr, value: &OsStr) -> io::Result<()> {
        let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
        self.kept.push(Cow::Owned(CString::new(entry)?));
        Ok(())
    }

    /// Sets a variable, in the place of any other of this name.
    pub fn set(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.kept.retain(|entry| split(entry).is_none_or(|(known, _)| known != name));
        self.push(OsStr::new(name), OsStr::new(value))
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.kept
            .iter()
            .filter_map(|entry| split(entry))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(names: &[&str]) -> Vec<CString> {
        names.iter().map(|name| CString::new(format!("{name}=v")).unwrap()).collect()
    }

    fn names(policy: &EnvPolicy, given: &[&str]) -> Vec<String> {
        let given = variables(given);
        let filtered = policy.filter(given.iter().map(CString::as_c_str)).unwrap();
        filtered.kept.iter().map(|entry| split(entry).unwrap().0.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn injection_goes_and_the_rest_stays() {
        let policy = EnvPolicy { keep: vec!["LD_LIBRARY_PATH".into()], ..EnvPolicy::default() };
        let given =
            ["PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "NODE_OPTIONS", "GH_TOKEN", "LDX", "ENV", "ENVX"];
        assert_eq!(names(&policy, &given), ["PATH", "LD_LIBRARY_PATH", "GH_TOKEN", "LDX", "ENVX"]);
        let drop = EnvPolicy { drop: SECRETS.map(OsString::from).to_vec(), ..EnvPolicy::default() };
        assert_eq!(names(&drop, &["GH_TOKEN", "_TOKEN", "TOKEN"]), ["TOKEN"]);
    }

    #[test]
    fn every_injection_goes() {
        for pattern in INJECTION {
            let name = pattern.replace('*', "_X");
            assert!(injects(name.as_bytes()), "{name}");
            assert!(!injects(name.to_ascii_lowercase().as_bytes()), "{name}");
        }
        assert!(!injects(b""));
    }

    #[test]
    fn clean_keeps_the_basics_and_what_is_named() {
        let policy = EnvPolicy {
            clean: true,
            keep: vec!["MY_*".into()],
            set: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
            ..EnvPolicy::default()
        };
        let given = variables(&["PATH", "HOME", "LC_ALL", "EVIL", "MY_X", "A"]);
        let mut filtered = policy.filter(given.iter().map(CString::as_c_str)).unwrap();
        assert_eq!(filtered.kept.last(), Some(&Cow::Borrowed(c"A=2")));
        assert_eq!(filtered.kept.len(), 5);
        assert_eq!(filtered.removed, ["EVIL"]);
        filtered.set("HOME", "/h").unwrap();
        assert_eq!(filtered.get("HOME"), Some(OsStr::new("/h")));
        assert_eq!(filtered.kept.len(), 5);
        let broken = EnvPolicy { set: vec![("A".into(), "1\0".into())], ..EnvPolicy::default() };
        assert!(broken.filter(std::iter::empty()).is_err());
    }
}
