//! What the actors' logs say: facts to hold the databases against.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One send and what is known of it.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// To whom.
    pub to: String,
    /// With a dedup key.
    pub keyed: bool,
    /// Every outcome: an exit status, or `killed`.
    pub outcomes: Vec<String>,
    /// Every id that it printed.
    pub ids: BTreeSet<String>,
}

impl Sent {
    /// Whether an exit status promised that the message is kept: delivered (0) or parked (69).
    pub fn acknowledged(&self) -> bool {
        !self.ids.is_empty() || self.outcomes.iter().any(|outcome| outcome == "0" || outcome == "69")
    }

    /// Whether it is certain that nothing was stored.
    pub fn refused(&self) -> bool {
        let done = |outcome: &String| matches!(outcome.as_str(), "0" | "69" | "killed");
        // A try without an outcome was cut off with its sender.
        self.outcomes.iter().all(|outcome| !done(outcome) && outcome != "open") && self.ids.is_empty()
    }
}

/// What happened to one message at its receivers.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// When a `recv` that returned it began.
    pub got: Vec<u64>,
    /// An `ack` of it was begun.
    pub acking: bool,
    /// When an `ack` of it had succeeded.
    pub acked: Vec<u64>,
}

/// All logs together.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By the number that the sender gave.
    pub sent: BTreeMap<String, Sent>,
    /// By message id.
    pub received: BTreeMap<String, Received>,
    /// What failed and how often, for the report.
    pub failures: BTreeMap<String, u64>,
}

impl Ledger {
    /// Reads one actor's log; the last line may be cut off, and no other.
    pub fn read(&mut self, log: &Path) {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let mut recv_began = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(7, ' ').collect();
            let Some(at) = words.first().and_then(|ns| ns.parse::<u64>().ok()) else { continue };
            match words[1..] {
                ["try", key, to, keyed, ..] => {
                    let sent = self.sent.entry(key.to_owned()).or_default();
                    to.clone_into(&mut sent.to);
                    sent.keyed = keyed == "keyed";
                    sent.outcomes.push("open".into());
                }
                ["sent", key, _, outcome, id, ref said @ ..] => {
                    let sent = self.sent.entry(key.to_owned()).or_default();
                    if let Some(last) = sent.outcomes.last_mut() {
                        outcome.clone_into(last);
                    }
                    if id != "-" {
                        sent.ids.insert(id.to_owned());
                    }
                    if !matches!(outcome, "0" | "69" | "killed") {
                        self.failed("send", outcome, &said.join(" "));
                    }
                }
                ["recv"] => recv_began = at,
                ["recv-failed", outcome, ref said @ ..] if !matches!(outcome, "124" | "killed") => {
                    self.failed("recv", outcome, &said.join(" "));
                }
                ["got", id] => self.received.entry(id.to_owned()).or_default().got.push(recv_began),
                ["acking", id] => self.received.entry(id.to_owned()).or_default().acking = true,
                ["acked", id, ..] => self.received.entry(id.to_owned()).or_default().acked.push(at),
                ["ack-failed", _, outcome, ref said @ ..] if outcome != "killed" => {
                    self.failed("ack", outcome, &said.join(" "));
                }
                _ => {}
            }
        }
    }

    fn failed(&mut self, what: &str, outcome: &str, said: &str) {
        // Ids, paths and numbers out, so that one cause is one line.
        let said: Vec<&str> =
            said.split(' ')
                .map(|word| {
                    if word.contains('/') || word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word }
                })
                .take(20)
                .collect();
        let said = said.join(" ");
        *self.failures.entry(format!("{what} exit {outcome}: {said}")).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(text: &str) -> Ledger {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut ledger = Ledger::default();
        ledger.read(file.path());
        ledger
    }

    #[test]
    fn a_send_that_was_cut_off_is_neither_acknowledged_nor_refused() {
        let ledger = ledger("1 try a/1/0 pool keyed 0\n2 sent a/1/0 pool 0 ID \n3 try a/1/1 pool plain 0\n");
        assert!(ledger.sent["a/1/0"].acknowledged() && ledger.sent["a/1/0"].keyed);
        assert!(!ledger.sent["a/1/1"].acknowledged() && !ledger.sent["a/1/1"].refused());
    }

    #[test]
    fn a_failed_send_is_refused_and_counted() {
        let ledger = ledger("1 try a/1/0 pool plain 0\n2 sent a/1/0 pool 74 - btmsg: disk full\n");
        assert!(ledger.sent["a/1/0"].refused());
        assert_eq!(ledger.failures["send exit 74: btmsg: disk full"], 1);
    }

    #[test]
    fn a_delivery_belongs_to_the_recv_before_it() {
        let ledger = ledger("5 recv\n9 got M\n10 acking M\n11 acked M 0 \n12 recv\n13 got M\n");
        assert_eq!(ledger.received["M"].got, [5, 12]);
        assert_eq!(ledger.received["M"].acked, [11]);
    }
}
