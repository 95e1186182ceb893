//! What is done to the pipeline and when: a list that follows from the seed and the duration alone.

use std::fmt;
use std::time::Duration;

/// A kind of process in the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The supervisor of `worker`, or of `coder`.
    Supervisor,
    /// The keeper between one of them and its agent.
    Keeper,
    /// The supervised, sandboxed agent itself.
    Agent,
    /// A program that sends in a loop.
    Sender,
    /// A `btmsg send` in flight.
    Send,
    /// A program that receives in a loop.
    Receiver,
    /// A `btmsg recv` or `ack` in flight.
    Receive,
    /// The checkpoint loop.
    Checkpoint,
    /// The relay in front of `coder`.
    Relay,
    /// The client of that relay.
    Client,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 10] = [
        Target::Supervisor,
        Target::Keeper,
        Target::Agent,
        Target::Sender,
        Target::Send,
        Target::Receiver,
        Target::Receive,
        Target::Checkpoint,
        Target::Relay,
        Target::Client,
    ];

    /// The words that its command line has, in this order, each the end of an argument.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Target::Supervisor => &["agor-supervise"],
            Target::Keeper => &["agor-keeper"],
            Target::Agent => &["agor-fault-actor", "agent"],
            Target::Sender => &["agor-fault-actor", "sender"],
            Target::Send => &["btmsg", "send"],
            Target::Receiver => &["agor-fault-actor", "receiver"],
            Target::Receive => &["btmsg", "--json"],
            Target::Checkpoint => &["agor-checkpoint"],
            Target::Relay => &["agor-relay", "fault-session=1"],
            Target::Client => &["agor-relay", "connect"],
        }
    }
}

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both sides see a reset.
    Reset,
    /// Both sides see an orderly end.
    Close,
    /// Nothing arrives any more for so long, then a reset.
    Blackhole(Duration),
    /// A byte trickles through now and then for so long.
    Slow(Duration),
}

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill(Target),
    /// SIGSTOP, and SIGCONT so much later.
    Pause(Target, Duration),
    /// The supervisor of `worker` is killed, and everyone is asked how it is.
    KillAndAsk,
    /// The links between clients and relays.
    Cut(Cut),
    /// The file system of the data directory is full for so long.
    DiskFull(Duration),
    /// The data directory as a tool sees it that may not write there.
    ReadOnly,
    /// A restart that is asked for.
    Restart,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Something to be done at a time since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// The whole schedule of `length` for `seed`: every kind of process is killed in turn, in an order that
/// changes each round, with the other faults in between.
pub fn schedule(seed: u64, length: Duration) -> Vec<Event> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut events = Vec::new();
    let mut at = Duration::from_millis(1500);
    let mut round: Vec<Target> = Vec::new();
    // Each of the slow ones once early, so that a short run has them all.
    let mut rare = [
        Fault::DiskFull(Duration::from_millis(800 + rng.u64(..700))),
        Fault::ReadOnly,
        Fault::KillAndAsk,
        Fault::Cut(Cut::Blackhole(Duration::from_millis(1000 + rng.u64(..2000)))),
        Fault::Restart,
    ]
    .to_vec();
    rng.shuffle(&mut rare);
    while at < length {
        let fault = match rng.u8(..20) {
            0..=3 if !rare.is_empty() => rare.pop().expect("it is not empty"),
            4..=6 => {
                let target = Target::ALL[rng.usize(..Target::ALL.len())];
                Fault::Pause(target, Duration::from_millis(100 + rng.u64(..2500)))
            }
            7..=9 => Fault::Cut(match rng.u8(..4) {
                0 => Cut::Reset,
                1 => Cut::Close,
                2 => Cut::Blackhole(Duration::from_millis(500 + rng.u64(..2500))),
                _ => Cut::Slow(Duration::from_millis(500 + rng.u64(..1500))),
            }),
            10 => match rng.u8(..6) {
                0 => Fault::DiskFull(Duration::from_millis(500 + rng.u64(..1500))),
                1 => Fault::ReadOnly,
                2 => Fault::Restart,
                _ => Fault::KillAndAsk,
            },
            _ => {
                if round.is_empty() {
                    round = Target::ALL.to_vec();
                    rng.shuffle(&mut round);
                }
                Fault::Kill(round.pop().expect("it was just filled"))
            }
        };
        events.push(Event { at, fault });
        at += Duration::from_millis(100 + rng.u64(..500));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        let length = Duration::from_secs(30);
        assert_eq!(schedule(7, length), schedule(7, length));
        assert_ne!(schedule(7, length), schedule(8, length));
    }

    #[test]
    fn half_a_minute_kills_every_kind_and_has_every_fault() {
        for seed in 0..200 {
            let events = schedule(seed, Duration::from_secs(30));
            for target in Target::ALL {
                assert!(events.iter().any(|event| event.fault == Fault::Kill(target)), "{seed} {target:?}");
            }
            for rare in ["DiskFull", "ReadOnly", "KillAndAsk", "Cut", "Restart", "Pause"] {
                assert!(
                    events.iter().any(|event| event.fault.to_string().starts_with(rare)),
                    "{seed} {rare}"
                );
            }
        }
    }
}
