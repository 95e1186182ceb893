//! Which events are worth a line: `AGOR_LOG`, else `RUST_LOG`.
//!
//! `level` or `target=level`, separated by commas; the longest target that fits wins. A bare level speaks of
//! agor's own code: other libraries are heard from `warn`, unless they are named.

use tracing::Metadata;
use tracing::level_filters::LevelFilter;

/// The stderr filter's variable.
pub const LOG: &str = "AGOR_LOG";

/// The target of events that are exported and never a line on stderr: for what the tool says there itself.
pub const EXPORT_ONLY: &str = "agor_export";

#[derive(Debug, Clone)]
pub(super) struct Filter {
    own: LevelFilter,
    export: bool,
    targets: Vec<(String, LevelFilter)>,
}

fn is_own(target: &str) -> bool {
    target.starts_with("agor") || target.starts_with("btmsg")
}

fn level(word: &str) -> Option<LevelFilter> {
    if word.eq_ignore_ascii_case("warning") { Some(LevelFilter::WARN) } else { word.parse().ok() }
}

impl Filter {
    pub(super) fn of(own: LevelFilter) -> Filter {
        Filter { own, export: false, targets: Vec::new() }
    }

    /// From the environment; the second value is a complaint about `AGOR_LOG`. `RUST_LOG` is written for
    /// other programs too: what is not understood there is passed over.
    pub(super) fn from_env(default: LevelFilter) -> (Filter, Option<String>) {
        let read = |name: &str| super::variable(name).filter(|value| !value.trim().is_empty());
        if let Some(text) = read(LOG) {
            let (filter, bad) = Filter::parse(&text, default);
            let complaint = |part| format!("{LOG}: '{part}' is neither LEVEL nor TARGET=LEVEL");
            (filter, bad.map(complaint))
        } else if let Some(text) = read("RUST_LOG") {
            (Filter::parse(&text, default).0, None)
        } else {
            (Filter::of(default), None)
        }
    }

    /// The filter, and the first part that was not understood.
    fn parse(text: &str, default: LevelFilter) -> (Filter, Option<String>) {
        let mut filter = Filter::of(default);
        let mut bad = None;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let parsed = match part.rsplit_once('=') {
                Some((target, word)) => level(word.trim()).map(|level| (target.trim(), level)),
                None => level(part).map(|level| ("", level)),
            };
            match parsed {
                Some(("", level)) => filter.own = level,
                Some((target, level)) if !target.contains(['[', '{']) => {
                    filter.targets.push((target.to_owned(), level));
                }
                _ => bad = bad.or_else(|| Some(part.to_owned())),
            }
        }
        // Longest first, so that the first match is the closest one.
        filter.targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        (filter, bad)
    }

    fn level_for(&self, target: &str) -> LevelFilter {
        if let Some((_, level)) = self.targets.iter().find(|(prefix, _)| target.starts_with(prefix.as_str()))
        {
            *level
        } else if is_own(target) {
            self.own
        } else {
            self.own.min(LevelFilter::WARN)
        }
    }

    pub(super) fn allows(&self, meta: &Metadata<'_>) -> bool {
        (self.export || meta.target() != EXPORT_ONLY) && *meta.level() <= self.level_for(meta.target())
    }

    pub(super) fn allows_level(&self, target: &str, level: tracing::Level) -> bool {
        level <= self.level_for(target)
    }

    pub(super) fn max(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).fold(self.own, LevelFilter::max)
    }

    /// The same filter, but hearing our own code from `info` at least: for what is exported.
    pub(super) fn for_export(&self) -> Filter {
        Filter { own: self.own.max(LevelFilter::INFO), export: true, targets: self.targets.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_closest_target_wins_and_libraries_are_quiet() {
        let (filter, bad) =
            Filter::parse("debug,agor_relay=off,agor_relay::tls=trace,hyper=info", LevelFilter::WARN);
        assert_eq!(bad, None);
        assert!(filter.allows_level("btmsg", Level::DEBUG));
        assert!(!filter.allows_level("agor_relay::x", Level::ERROR));
        assert!(filter.allows_level("agor_relay::tls", Level::TRACE));
        assert!(filter.allows_level("hyper::proto", Level::INFO));
        assert!(!filter.allows_level("rustls", Level::INFO));
        assert!(filter.allows_level("rustls", Level::WARN));
        assert_eq!(filter.max(), LevelFilter::TRACE);
    }

    #[test]
    fn what_is_not_understood_is_named_and_left_out() {
        let (filter, bad) = Filter::parse("verbose,btmsg=loud,[span{a=1}]=debug,error", LevelFilter::INFO);
        assert_eq!(bad.as_deref(), Some("verbose"));
        assert_eq!(filter.max(), LevelFilter::ERROR);
        assert!(!Filter::parse("off", LevelFilter::INFO).0.allows_level("agor", Level::ERROR));
        assert!(Filter::parse("warning", LevelFilter::INFO).0.allows_level("agor", Level::WARN));
    }
}
