use super::*;
use proptest::prelude::*;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn rule() -> Rule {
    Rule {
        max_attempts: 5,
        backoff: Backoff { base: S, cap: 30 * S, jitter: 0.0 },
        stable_after: 300 * S,
        policy: Policy::OnFailure,
        success: vec![0],
        no_retry: vec![78],
        stop_grace: 10 * S,
        hold: false,
        ready: false,
        ready_timeout: None,
    }
}

/// A supervisor with a clock that goes only when it is told to.
struct World {
    rule: Rule,
    state: State,
    now: Moment,
    log: Vec<Action>,
    spawns: Vec<Moment>,
}

impl World {
    fn new(rule: Rule) -> World {
        let mut world = World {
            rule,
            state: State::new(0, 7),
            now: Duration::from_secs(1000),
            log: Vec::new(),
            spawns: Vec::new(),
        };
        world.event(Event::Start);
        world.event(Event::Spawned);
        world
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let (state, actions) = self.state.clone().step(&self.rule, event, self.now);
        self.state = state;
        for action in &actions {
            if let Action::Spawn(_) = action {
                self.spawns.push(self.now);
            }
        }
        self.log.extend(&actions);
        actions
    }

    fn exit(&mut self, code: u8) -> Vec<Action> {
        self.event(Event::Exited(Exit::Code(code), Manner::Plain))
    }

    /// Lets the next timer come due; true when there was one.
    fn pass(&mut self) -> bool {
        let Some(due) = self.state.deadline(&self.rule) else { return false };
        self.now = due.max(self.now);
        self.event(Event::Tick);
        true
    }
}

#[test]
fn five_attempts_after_1_2_4_8_16_s_and_then_failed() {
    let mut world = World::new(rule());
    let mut gaps = Vec::new();
    loop {
        let died = world.now;
        let actions = world.exit(1);
        if actions.contains(&Action::Finish(Outcome::Failed(Exit::Code(1)))) {
            break;
        }
        assert!(world.pass());
        gaps.push((world.now - died).as_secs());
        world.event(Event::Spawned);
    }
    assert_eq!(gaps, [1, 2, 4, 8, 16]);
    assert_eq!(world.spawns.len(), 6);
    assert_eq!(world.state.attempts(&world.rule), 5);
}

#[test]
fn without_a_limit_delays_stay_at_the_cap() {
    let mut world = World::new(Rule { max_attempts: 0, ..rule() });
    for round in 1..=100u32 {
        let died = world.now;
        world.exit(1);
        assert!(world.pass());
        let expected = if round <= 5 { 1 << (round - 1) } else { 30 };
        assert_eq!((world.now - died).as_secs(), expected, "round {round}");
        world.event(Event::Spawned);
    }
    let huge = Backoff { base: Duration::MAX / 2, cap: Duration::MAX, jitter: 1.0 };
    assert_eq!(huge.nominal(u32::MAX), Duration::MAX);
    let none = Backoff { base: Duration::ZERO, cap: S, jitter: 0.0 };
    assert_eq!(none.nominal(u32::MAX), Duration::ZERO);
}

#[test]
fn a_stable_run_resets_when_the_time_is_reached() {
    let mut world = World::new(rule());
    world.exit(1);
    world.pass();
    world.event(Event::Spawned);
    assert_eq!(world.state.failures, 1);
    world.now += 300 * S - MS;
    world.event(Event::Tick);
    assert_eq!(world.state.failures, 1);
    world.now += MS;
    world.event(Event::Tick);
    assert_eq!(world.state.failures, 0);
    assert_eq!(world.state.deadline(&world.rule), None, "nothing to wake up for");
}

#[test]
fn a_run_one_millisecond_short_does_not_reset() {
    let mut world = World::new(rule());
    for expected in [1, 2] {
        world.now += 300 * S - MS;
        world.exit(1);
        assert_eq!(world.state.failures, expected);
        world.pass();
        world.event(Event::Spawned);
    }
    // And exactly at the limit it does, even when the tick is late.
    world.now += 300 * S;
    world.exit(1);
    assert_eq!(world.state.failures, 1);
}

#[test]
fn once_an_hour_never_fails() {
    let mut world = World::new(rule());
    for _ in 0..10 {
        world.now += 3600 * S;
        world.exit(1);
        assert!(matches!(world.state.phase, Phase::Backoff { .. }));
        world.pass();
        world.event(Event::Spawned);
    }
}

#[test]
fn policies_and_codes() {
    let mut world = World::new(rule());
    assert_eq!(world.exit(0), [Action::Finish(Outcome::Completed(0))]);
    let mut world = World::new(Rule { policy: Policy::Always, ..rule() });
    assert_eq!(world.exit(0), [Action::Crashed(Exit::Code(0), S)]);
    let mut world = World::new(Rule { policy: Policy::Never, ..rule() });
    assert_eq!(world.exit(3).last(), Some(&Action::Finish(Outcome::Failed(Exit::Code(3)))));
    assert_eq!(world.state.attempts(&world.rule), 1);
    let mut world = World::new(Rule { success: vec![0, 143], ..rule() });
    let end = world.event(Event::Exited(Exit::Signal(15), Manner::Plain));
    assert_eq!(end, [Action::Finish(Outcome::Completed(143))]);
    let mut world = World::new(rule());
    assert_eq!(world.exit(78).last(), Some(&Action::Finish(Outcome::Failed(Exit::Code(78)))));
    assert_eq!(world.state.attempts(&world.rule), 1);
    let mut world = World::new(rule());
    let end = world.event(Event::Exited(Exit::NoExec(127), Manner::Plain));
    assert_eq!(end.last(), Some(&Action::Finish(Outcome::Failed(Exit::NoExec(127)))));
}

#[test]
fn a_restart_by_hand_leaves_backoff_and_the_old_timer_is_gone() {
    let mut world = World::new(rule());
    for _ in 0..5 {
        world.exit(1);
        if world.state.failures < 5 {
            world.pass();
            world.event(Event::Spawned);
        }
    }
    let due = world.state.deadline(&world.rule).unwrap();
    assert_eq!(world.event(Event::Restart), [Action::Spawn(0)]);
    world.event(Event::Spawned);
    world.now = due + S;
    assert_eq!(world.event(Event::Tick), []);
}

#[test]
fn stop_wins_over_everything() {
    let mut world = World::new(rule());
    world.exit(1);
    let stopped = Outcome::Stopped { exit: None, killed: false, given_up: false };
    assert_eq!(world.event(Event::Stop(15)), [Action::Finish(stopped)]);
    let mut world = World::new(rule());
    world.event(Event::Restart);
    world.event(Event::Stop(15));
    world.event(Event::Restart);
    assert!(matches!(world.exit(1)[..], [Action::Finish(Outcome::Stopped { .. })]));
}

#[test]
fn grace_then_kill_and_a_second_stop_kills_at_once() {
    let mut world = World::new(rule());
    assert_eq!(world.event(Event::Stop(2)), [Action::Signal(2)]);
    world.now += 10 * S - MS;
    assert_eq!(world.event(Event::Tick), []);
    world.now += MS;
    assert_eq!(world.event(Event::Tick), [Action::Kill]);
    assert_eq!(world.event(Event::Stop(15)), []);
    let mut world = World::new(rule());
    world.event(Event::Stop(15));
    assert_eq!(world.event(Event::Stop(15)), [Action::Kill]);
}

#[test]
fn held_waits_for_a_hand() {
    let mut world = World::new(Rule { hold: true, max_attempts: 1, ..rule() });
    world.exit(1);
    world.pass();
    world.event(Event::Spawned);
    assert_eq!(world.exit(1), [Action::GaveUp(Exit::Code(1))]);
    assert_eq!(world.state.phase, Phase::Held);
    assert_eq!(world.state.deadline(&world.rule), None);
    assert_eq!(world.event(Event::Restart), [Action::Spawn(0)]);
}

#[test]
fn not_ready_in_time_is_a_failure() {
    let mut world = World::new(Rule { ready: true, ready_timeout: Some(S), ..rule() });
    assert!(matches!(world.state.phase, Phase::Starting { .. }));
    world.now += S;
    assert_eq!(world.event(Event::Tick), [Action::Signal(15)]);
    assert_eq!(world.exit(0), [Action::Crashed(Exit::Code(0), S)]);
    world.pass();
    world.event(Event::Spawned);
    world.event(Event::Ready);
    assert!(matches!(world.state.phase, Phase::Up { .. }));
}

#[test]
fn delay_zero_spends_exactly_the_budget() {
    let zero = Backoff { base: Duration::ZERO, cap: S, jitter: 0.0 };
    let mut world = World::new(Rule { backoff: zero, max_attempts: 7, ..rule() });
    while !matches!(world.state.phase, Phase::Over(_)) {
        world.event(Event::Spawned);
        world.exit(1);
    }
    assert_eq!(world.spawns.len(), 8, "the first start and seven restarts");
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Start),
        Just(Event::Spawned),
        Just(Event::Ready),
        any::<u8>().prop_map(|code| Event::Exited(Exit::Code(code), Manner::Plain)),
        (1u8..64).prop_map(|signal| Event::Exited(Exit::Signal(signal), Manner::Plain)),
        Just(Event::Exited(Exit::NoFork, Manner::Plain)),
        Just(Event::Tick),
        Just(Event::Stop(15)),
        Just(Event::Restart),
        Just(Event::Reset),
        Just(Event::Fault(Cause::Stall)),
    ]
}

proptest! {
    #[test]
    fn jitter_stays_in_its_band(seed: u64, attempt in 1u32..200, jitter in 0.0f64..=1.0) {
        let backoff = Backoff { base: S, cap: 30 * S, jitter };
        let nominal = backoff.nominal(attempt).as_secs_f64();
        let delay = backoff.delay(attempt, &mut fastrand::Rng::with_seed(seed));
        prop_assert!(delay <= backoff.cap);
        let (low, high) = (nominal * (1.0 - jitter), nominal * (1.0 + jitter));
        prop_assert!(delay.as_secs_f64() >= low - 1e-6 && delay.as_secs_f64() <= high + 1e-6);
    }

    /// Whatever happens in whatever order: at most one child, no spawn after a stop, and exactly one end.
    #[test]
    fn invariants(events in proptest::collection::vec((any_event(), 0u64..40_000), 1..80),
                  max_attempts in 0u32..4, hold: bool, seed: u64) {
        let rule = Rule { max_attempts, hold, ..rule() };
        let mut state = State::new(0, seed);
        let mut now = Duration::ZERO;
        let (mut running, mut finished, mut stopping) = (false, false, false);
        for (event, wait) in events {
            now += Duration::from_millis(wait);
            if matches!(event, Event::Exited(..)) && !running { continue; }
            if matches!(event, Event::Exited(..)) { running = false; }
            stopping |= matches!(event, Event::Stop(_));
            let (next, actions) = state.step(&rule, event, now);
            state = next;
            for action in actions {
                prop_assert!(!finished, "{action:?} after the end");
                match action {
                    Action::Spawn(_) => {
                        prop_assert!(!running, "two children");
                        running = true;
                    }
                    Action::Finish(_) => {
                        prop_assert!(!running);
                        finished = true;
                    }
                    Action::Signal(_) | Action::Kill => prop_assert!(running),
                    Action::Crashed(_, delay) => prop_assert!(delay <= rule.backoff.cap),
                    Action::GaveUp(_) => {}
                }
                prop_assert!(!(stopping && matches!(action, Action::Spawn(_))), "spawn after a stop");
            }
            if rule.max_attempts > 0 {
                prop_assert!(state.attempts(&rule) <= rule.max_attempts);
            }
            if let Some(due) = state.deadline(&rule) {
                prop_assert!(due > now || matches!(event, Event::Spawned | Event::Ready | Event::Start),
                    "a timer in the past: {due:?} {now:?} {:?}", state.phase);
            }
        }
    }
}
