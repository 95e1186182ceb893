//! Which variables reach COMMAND.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use crate::policy::EnvPolicy;

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
        _ => name == pattern,
    }
}

impl EnvPolicy {
    fn passes(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        let in_list = |list: &[OsString]| list.iter().any(|pattern| fits(pattern.as_bytes(), name));
        if in_list(&self.keep) {
            return true;
        }
        let listed = |list: &[&str]| list.iter().any(|pattern| fits(pattern.as_bytes(), name));
        if self.clean && !listed(&BASIC) {
            return false;
        }
        // Most names share their first letter with none of them, and are done here.
        let may_be = INJECTION.iter().any(|pattern| pattern.as_bytes().first() == name.first());
        !((may_be && listed(&INJECTION)) || in_list(&self.drop))
    }

    /// The variables for COMMAND out of `inherited`, and the names that were left out.
    pub fn filter(
        &self,
        inherited: impl Iterator<Item = (OsString, OsString)>,
    ) -> (Vec<(OsString, OsString)>, Vec<OsString>) {
        let mut out = Vec::with_capacity(64);
        let mut dropped = Vec::new();
        for (name, value) in inherited {
            if self.set.iter().any(|(set, _)| *set == name) {
                continue;
            }
            if self.passes(&name) {
                out.push((name, value));
            } else {
                dropped.push(name);
            }
        }
        for (at, (name, value)) in self.set.iter().enumerate() {
            // The last one of a name wins.
            if !self.set[at + 1..].iter().any(|(later, _)| later == name) {
                out.push((name.clone(), value.clone()));
            }
        }
        (out, dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(policy: &EnvPolicy, given: &[&str]) -> Vec<String> {
        let given = given.iter().map(|name| (OsString::from(name), OsString::from("v")));
        policy.filter(given).0.into_iter().map(|(name, _)| name.into_string().unwrap()).collect()
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
    fn clean_keeps_the_basics_and_what_is_named() {
        let policy = EnvPolicy {
            clean: true,
            keep: vec!["MY_*".into()],
            set: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
            ..EnvPolicy::default()
        };
        let given = ["PATH", "HOME", "LC_ALL", "EVIL", "MY_X", "A"];
        let (out, dropped) = policy.filter(given.iter().map(|name| (name.into(), "v".into())));
        assert_eq!(out.last(), Some(&("A".into(), "2".into())));
        assert_eq!(out.len(), 5);
        assert_eq!(dropped, ["EVIL"]);
    }
}
