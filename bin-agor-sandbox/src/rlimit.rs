//! Resource limits: `NAME=SOFT[:HARD]`, with K, M, G (powers of 1024) and `unlimited`.

use std::ffi::OsStr;

use rustix::process::{Resource, Rlimit};

use crate::error::Error;

/// One limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The name, as in `NAMES`.
    pub name: &'static str,
    /// The resource.
    pub resource: Resource,
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

fn number(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        unit => return Err(format!("unknown unit {unit}; there are K, M, G, T")),
    };
    let value: u64 = digits.parse().map_err(|_| format!("{text:?} is not a number"))?;
    value.checked_mul(1 << shift).map(Some).ok_or_else(|| format!("{text} is too large"))
}

impl Limit {
    /// `name` and `SOFT[:HARD]`.
    pub fn parse(name: &str, value: &str) -> Result<Limit, String> {
        let name = name.to_ascii_lowercase();
        let Some((name, resource)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!("unknown resource; there are {}", names.join(", ")));
        };
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err("the soft limit is above the hard one".into());
        }
        Ok(Limit { name, resource: *resource, soft, hard })
    }

    /// The value of `--rlimit`.
    pub fn parse_flag(flag: &OsStr) -> Result<Limit, Error> {
        let text = flag.to_string_lossy();
        let parsed = match text.split_once('=') {
            Some((name, value)) => Limit::parse(name, value),
            None => Err("NAME=N is needed".into()),
        };
        parsed.map_err(|why| Error::Usage { option: "--rlimit", value: text.into_owned(), why })
    }

    /// Sets it for this process.
    pub fn apply(&self) -> Result<(), Error> {
        rustix::process::setrlimit(self.resource, Rlimit { current: self.soft, maximum: self.hard })
            .map_err(|error| Error::apply(format!("set the limit {self}"), error))
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |value: Option<u64>| value.map_or("unlimited".to_owned(), |value| value.to_string());
        write!(f, "{}={}:{}", self.name, word(self.soft), word(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_parse() {
        let limit = Limit::parse("nofile", "64:1K").unwrap();
        assert_eq!((limit.soft, limit.hard), (Some(64), Some(1024)));
        assert_eq!(Limit::parse("AS", "2G").unwrap().hard, Some(2 << 30));
        assert_eq!(Limit::parse("core", "0:unlimited").unwrap().hard, None);
        for (name, value) in [
            ("nofile", "x"),
            ("nofiles", "1"),
            ("as", "2:1"),
            ("as", "1Q"),
            ("as", "99999999999G"),
            ("as", ""),
        ] {
            assert!(Limit::parse(name, value).is_err(), "{name}={value}");
        }
    }
}
