//! Counters, and their Prometheus text.

use std::cell::Cell;
use std::fmt::Write as _;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) connections: Counter,
    pub(crate) refused_full: Counter,
    pub(crate) displaced: Counter,
    pub(crate) handshake_failures: Counter,
    pub(crate) login_failures: Counter,
    pub(crate) throttled: Counter,
    pub(crate) commands: Counter,
    pub(crate) gaps: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) reloads: Counter,
    pub(crate) reload_failures: Counter,
}

/// Numbers of this moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) open: usize,
    pub(crate) pending: usize,
    pub(crate) sessions: usize,
    pub(crate) running: usize,
    pub(crate) throttled_addresses: usize,
    /// Seconds until the certificate ends; `None` without TLS.
    pub(crate) certificate_s: Option<f64>,
}

impl Metrics {
    /// The exposition format, version 0.0.4.
    pub(crate) fn text(&self, now: &Now) -> String {
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, help: &str, value: String| {
            // Writing into memory does not fail.
            let _ = writeln!(
                out,
                "# HELP agor_relay_{name} {help}\n# TYPE agor_relay_{name} {kind}\nagor_relay_{name} {value}"
            );
        };
        let counters = [
            ("connections_total", "Authenticated connections.", &self.connections),
            ("refused_full_total", "Connections refused because a limit was reached.", &self.refused_full),
            ("displaced_total", "Unauthenticated connections that gave way to newer ones.", &self.displaced),
            (
                "handshake_failures_total",
                "Connections that ended before the upgrade.",
                &self.handshake_failures,
            ),
            ("login_failures_total", "Missing and wrong tokens.", &self.login_failures),
            ("throttled_total", "Requests answered 429.", &self.throttled),
            ("commands_total", "Commands, repeated ones included.", &self.commands),
            ("gaps_total", "Gap events sent.", &self.gaps),
            ("received_bytes_total", "Bytes from closed connections.", &self.bytes_in),
            ("sent_bytes_total", "Bytes to closed connections.", &self.bytes_out),
            ("reloads_total", "Successful reloads.", &self.reloads),
            ("reload_failures_total", "Reloads that kept the old state.", &self.reload_failures),
        ];
        for (name, help, counter) in counters {
            family(name, "counter", help, counter.get().to_string());
        }
        let gauges = [
            ("connections", "Authenticated connections now.", now.open),
            ("pending_connections", "Connections that have not authenticated yet.", now.pending),
            ("sessions", "Known sessions.", now.sessions),
            ("sessions_running", "Sessions with a process.", now.running),
            ("throttled_addresses", "Addresses with recent failures.", now.throttled_addresses),
        ];
        for (name, help, value) in gauges {
            family(name, "gauge", help, value.to_string());
        }
        if let Some(seconds) = now.certificate_s {
            family(
                "certificate_expiry_seconds",
                "gauge",
                "Time until the certificate ends.",
                format!("{seconds:.0}"),
            );
        }
        out
    }
}
