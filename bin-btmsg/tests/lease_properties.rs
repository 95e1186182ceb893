//! Leases and acknowledgements against a model, under a virtual clock: whatever readers do and whenever,
//! nobody gets what another holds, nobody gets what was acknowledged, only the latest holder settles, what nobody
//! finishes becomes a dead letter, and a clock that is set changes none of it.
#![allow(clippy::unwrap_used, reason = "the helpers of tests, too, end a test by panicking")]

use agor_common::db::{Db, Options};
use btmsg::clock;
use btmsg::receive::{Action, lease, settle};
use proptest::prelude::*;

const MESSAGES: usize = 6;
const MAX_DELIVERIES: i64 = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A reader takes up to so many, for so many ms.
    Lease(u32, i64),
    /// Somebody settles with the token of one of the leases so far.
    Ack(prop::sample::Index),
    Nack(prop::sample::Index),
    Extend(prop::sample::Index, i64),
    /// Time passes.
    Pass(i64),
    /// The wall clock is set, by so many ms.
    SetClock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..4, 1i64..50).prop_map(|(max, ms)| Step::Lease(max, ms)),
        3 => any::<prop::sample::Index>().prop_map(Step::Ack),
        1 => any::<prop::sample::Index>().prop_map(Step::Nack),
        1 => (any::<prop::sample::Index>(), 1i64..50).prop_map(|(at, ms)| Step::Extend(at, ms)),
        3 => (1i64..60).prop_map(Step::Pass),
        1 => prop_oneof![-90_000_000i64..-30_000, 30_000i64..90_000_000].prop_map(Step::SetClock),
    ]
}

/// A message as it should be.
#[derive(Debug, Clone, Default)]
struct Model {
    acked: bool,
    dead: bool,
    deliveries: i64,
    until: i64,
    /// Of its latest lease, until it is given back.
    token: Option<String>,
}

impl Model {
    /// Whether somebody with this token may still say what became of it.
    fn is_held_with(&self, token: &str) -> bool {
        !self.dead && self.token.as_deref() == Some(token)
    }
}

/// Makes the clock look as if it had been set by `ms` since it was last written down, and lets the program find that
/// out; by how much it then moved what is due.
fn set_clock(db: &mut Db, ms: i64) -> i64 {
    let moved = db.write(|tx| {
        clock::keep(tx, "b")?;
        tx.execute(
            "UPDATE mail_meta SET value = substr(value, 1, instr(value, ' '))
                 || (substr(value, instr(value, ' ') + 1) - ?1) WHERE key = 'clock'",
            [ms],
        )?;
        clock::follow(tx, "b")
    });
    moved.unwrap().expect("the clock was set")
}

fn id(n: usize) -> String {
    format!("m{n}")
}

fn mailbox(dir: &std::path::Path) -> Db {
    let db = agor_common::mail::open(&dir.join("btmsg.db"), Options::create()).unwrap();
    for n in 0..MESSAGES {
        db.conn()
            .execute(
                "INSERT INTO messages (id, from_agent, to_agent, content) VALUES (?1, 'a', 'b', 'x')",
                [id(n)],
            )
            .unwrap();
    }
    db
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leases_follow_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut db = mailbox(dir.path());
        let mut model = vec![Model::default(); MESSAGES];
        // Every lease that was ever given: message and token.
        let mut given: Vec<(usize, String)> = Vec::new();
        let mut now = 1_000_000_000i64;
        for step in steps {
            match step {
                Step::Pass(ms) => now += ms,
                Step::SetClock(ms) => {
                    let moved = set_clock(&mut db, ms);
                    // The clocks are read one after the other.
                    prop_assert!((moved - ms).abs() < 1000, "set by {ms} and moved by {moved}");
                    now += moved;
                    model.iter_mut().filter(|one| one.until > 0).for_each(|one| one.until += moved);
                }
                Step::Lease(max, ms) => {
                    let (taken, dead) =
                        db.write(|tx| lease(tx, "b", max, now, now + ms, MAX_DELIVERIES)).unwrap();
                    let (mut expected, mut worn) = (Vec::new(), Vec::new());
                    for (n, one) in model.iter_mut().enumerate() {
                        if expected.len() == max as usize || one.acked || one.dead || one.until > now {
                            continue;
                        }
                        if one.deliveries == MAX_DELIVERIES {
                            one.dead = true;
                            worn.push(id(n));
                        } else {
                            one.deliveries += 1;
                            expected.push(id(n));
                        }
                    }
                    let got: Vec<String> = taken.iter().map(|leased| leased.message.id.clone()).collect();
                    prop_assert_eq!(got, expected);
                    let got: Vec<String> = dead.iter().map(|message| message.id.clone()).collect();
                    prop_assert_eq!(got, worn);
                    for leased in taken {
                        let n: usize = leased.message.id[1..].parse().unwrap();
                        prop_assert!(given.iter().all(|(_, token)| *token != leased.token), "a token twice");
                        model[n].until = now + ms;
                        model[n].token = Some(leased.token.clone());
                        given.push((n, leased.token));
                    }
                }
                _ if given.is_empty() => {}
                Step::Ack(at) => {
                    let (n, token) = at.get(&given).clone();
                    let done = db.write(|tx| settle(tx, "b", &id(n), Some(&token), Action::Ack, now)).is_ok();
                    // The same holder may say it twice.
                    prop_assert_eq!(done, model[n].is_held_with(&token));
                    model[n].acked |= done;
                }
                Step::Nack(at) => {
                    let (n, token) = at.get(&given).clone();
                    let done = db.write(|tx| settle(tx, "b", &id(n), Some(&token), Action::Nack(0), now)).is_ok();
                    prop_assert_eq!(done, model[n].is_held_with(&token) && !model[n].acked);
                    if done {
                        model[n].until = 0;
                        model[n].token = None;
                    }
                }
                Step::Extend(at, ms) => {
                    let (n, token) = at.get(&given).clone();
                    let action = Action::Extend(now + ms);
                    let done = db.write(|tx| settle(tx, "b", &id(n), Some(&token), action, now)).is_ok();
                    let holds = model[n].is_held_with(&token) && !model[n].acked;
                    prop_assert_eq!(done, holds && model[n].until > now);
                    if done {
                        model[n].until = now + ms;
                    }
                }
            }
        }
        let read: i64 =
            db.conn().query_row("SELECT count(*) FROM messages WHERE read = 1", [], |row| row.get(0)).unwrap();
        prop_assert_eq!(read, i64::try_from(model.iter().filter(|message| message.acked).count()).unwrap());
        let dead: i64 =
            db.conn().query_row("SELECT count(*) FROM dead_letter_queue", [], |row| row.get(0)).unwrap();
        prop_assert_eq!(dead, i64::try_from(model.iter().filter(|message| message.dead).count()).unwrap());
    }
}
