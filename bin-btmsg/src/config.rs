//! The table `[btmsg]` of the configuration file.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::cli;

/// What a `send` survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// A loss of power.
    PowerLoss,
    /// A crash of any process.
    Crash,
}

/// Whether parked mail goes back by itself when its recipient returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redrive {
    /// It does.
    Auto,
    /// Only by `dlq redrive`.
    Manual,
}

/// The table; every key has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct Config {
    /// `power-loss` (default) or `crash`, for everything but heartbeats.
    pub durability: Durability,
    /// `auto` (default) or `manual`.
    pub redrive: Redrive,
    /// The largest body in bytes; `1MiB`.
    #[serde(deserialize_with = "size")]
    pub max_size: u64,
    /// The stall threshold of agents without one of their own; `15m`.
    #[serde(deserialize_with = "span")]
    pub stall_after: Duration,
    /// The lease of `recv`; `5m`.
    #[serde(deserialize_with = "span")]
    pub lease: Duration,
    /// Leases before a message is dead-lettered, 1 to 1000; 5.
    #[serde(deserialize_with = "deliveries")]
    pub max_deliveries: i64,
    /// What `prune` keeps; `30d`.
    #[serde(deserialize_with = "duration")]
    pub keep: Duration,
    /// How often `send` sweeps on the side; `1m`.
    #[serde(deserialize_with = "duration")]
    pub sweep_every: Duration,
    /// Whether a sender hears of a message that died later; true.
    pub bounce: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            durability: Durability::PowerLoss,
            redrive: Redrive::Auto,
            max_size: 1 << 20,
            stall_after: Duration::from_secs(15 * 60),
            lease: Duration::from_secs(5 * 60),
            max_deliveries: agor_common::mail::messages::MAX_DELIVERIES,
            keep: Duration::from_secs(30 * 86_400),
            sweep_every: Duration::from_secs(60),
            bounce: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Quantity {
    Number(i64),
    Fraction(f64),
    Text(String),
}

impl Quantity {
    /// As it would be typed.
    fn words(self) -> String {
        match self {
            Quantity::Number(number) => number.to_string(),
            Quantity::Fraction(number) => number.to_string(),
            Quantity::Text(text) => text,
        }
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    cli::size(&Quantity::deserialize(deserializer)?.words()).map_err(serde::de::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    cli::duration(&Quantity::deserialize(deserializer)?.words()).map_err(serde::de::Error::custom)
}

/// A duration that is not zero.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match duration(deserializer)? {
        Duration::ZERO => Err(serde::de::Error::custom("it must be longer than nothing")),
        span => Ok(span),
    }
}

fn deliveries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match i64::deserialize(deserializer)? {
        number @ 1..=1000 => Ok(number),
        _ => Err(serde::de::Error::custom("it must be 1 to 1000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lose_or_stall_everything_is_refused() {
        for line in [
            "max_deliveries = 0",
            "max_deliveries = 1001",
            "lease = 0",
            "stall_after = \"0s\"",
            "max_size = -1",
        ] {
            let text = format!("[btmsg]\n{line}\n");
            let parsed = agor_common::config::parse::<Config>(&text, "btmsg", std::path::Path::new("t"));
            let error = parsed.unwrap_err().to_string();
            assert!(error.starts_with("configuration t:2: ") && !error.contains("Quantity"), "{error}");
        }
        let text = "[btmsg]\nlease = 0.5\nsweep_every = 0\n";
        let config: Config = agor_common::config::parse(text, "btmsg", std::path::Path::new("t")).unwrap();
        assert_eq!((config.lease, config.sweep_every), (Duration::from_millis(500), Duration::ZERO));
    }

    #[test]
    fn quantities_are_numbers_or_words() {
        let text = "[btmsg]\nmax_size = \"64K\"\nstall_after = \"20m\"\nlease = 60\nredrive = \"manual\"\n";
        let config: Config = agor_common::config::parse(text, "btmsg", std::path::Path::new("t")).unwrap();
        assert_eq!(config.max_size, 65_536);
        assert_eq!(config.stall_after, Duration::from_secs(1200));
        assert_eq!(config.lease, Duration::from_secs(60));
        assert_eq!(config.redrive, Redrive::Manual);
        assert_eq!(config.durability, Durability::PowerLoss);
    }
}
