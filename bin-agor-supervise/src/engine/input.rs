//! Signals, orders, and what the command says.

use std::time::Duration;

use agor_common::output;

use super::Engine;
use crate::cli::OnStall;
use crate::clock;
use crate::liveness::Verdict;
use crate::names::parse_signal;
use crate::notify::Said;
use crate::place::Answer;
use crate::recorder::Note;
use crate::rule::{Cause, Event, Moment, Phase};
use crate::sys::signals::{self, Signal};
use crate::terminal;

/// How long an answer is kept for who asked, who may be slow to look.
const ANSWER_AGE: Duration = Duration::from_secs(10);
/// Answers that are kept at most.
const ANSWERS: usize = 1024;
/// The longest line of an order.
const LINE: usize = 512;

impl Engine {
    /// Every signal has an effect that the manual names, and none ends the supervisor without the command.
    pub(super) fn take_signals(&mut self) {
        let mut children = false;
        while let Some(signal) = signals::next(&self.signals) {
            if signal.number == libc::SIGCHLD {
                children = true;
            } else {
                self.signal(signal);
            }
        }
        if children {
            self.reap();
        }
    }

    fn signal(&mut self, signal: Signal) {
        let now = clock::now();
        match signal.number {
            libc::SIGTERM => self.event(Event::Stop(15), now),
            // Ctrl-C while the command has no terminal of its own: it gets the same signal, once.
            libc::SIGINT if signal.from_kernel => {
                if !self.ignored.int {
                    self.event(Event::Stop(2), now);
                }
            }
            libc::SIGINT => self.event(Event::Stop(15), now),
            libc::SIGQUIT => self.event(Event::Stop(3), now),
            libc::SIGHUP if self.ignored.hup => {}
            libc::SIGHUP if signal.from_kernel || terminal::is_hung_up() => self.event(Event::Stop(1), now),
            libc::SIGHUP => self.event(Event::Restart, now),
            libc::SIGTSTP => {
                self.signal_child(libc::SIGTSTP, true);
                signals::stop_ourselves();
            }
            libc::SIGCONT => {
                if let (Some(terminal), Some(child)) = (&mut self.terminal, &self.child)
                    && terminal.is_ours()
                {
                    terminal.lend(child.pid);
                }
                self.signal_child(libc::SIGCONT, true);
            }
            libc::SIGWINCH => self.signal_child(libc::SIGWINCH, true),
            libc::SIGTTIN | libc::SIGTTOU | libc::SIGPIPE | libc::SIGXCPU | libc::SIGXFSZ => {}
            // USR1, USR2, ALRM, VTALRM, PROF, IO, PWR, URG, STKFLT and the real-time ones.
            other => self.signal_child(other, false),
        }
    }

    /// The command was stopped by a signal, or goes on. With a terminal that was Ctrl-Z, or it wanted to read
    /// in the background: the shell that started us must see its job stopped, so we stop too. SIGCONT, by
    /// `fg` or `bg`, makes both go on.
    pub(super) fn suspended(&mut self, signal: i32) {
        if signal != 0 && matches!(self.state.phase, Phase::Ending { .. }) {
            // It has been asked to end, and can do so only while it goes on.
            return self.signal_child(libc::SIGCONT, true);
        }
        self.run.reason = (signal != 0).then(|| "suspended".to_owned());
        self.dirty = true;
        let by_terminal = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        if by_terminal && self.terminal.is_some() {
            self.publish();
            if let Some(terminal) = &mut self.terminal {
                terminal.take_back();
            }
            signals::stop_ourselves();
        }
    }

    /// Orders from the FIFO: a verb, for `kill` a signal, and an id to answer to.
    pub(super) fn take_orders(&mut self) {
        let Some(control) = &self.control else { return };
        let mut buffer = [0; 4096];
        while let Ok(count) = rustix::io::read(control, &mut buffer) {
            if count == 0 {
                break;
            }
            self.orders.extend_from_slice(&buffer[..count]);
            if count < buffer.len() {
                break;
            }
        }
        while let Some(end) = self.orders.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.orders.drain(..=end).collect();
            if let Ok(line) = std::str::from_utf8(&line) {
                self.order(line.trim());
            }
        }
        if self.orders.len() > LINE {
            self.orders.clear();
        }
    }

    fn order(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let Some(verb) = words.next() else { return };
        let mut words: Vec<&str> = words.collect();
        let id = words.iter().position(|word| word.starts_with('#')).map(|at| words.remove(at).to_owned());
        let incarnation = self.run.incarnation;
        let refused = self.obey(verb, &words).err();
        if let Some(why) = &refused {
            output::warning(crate::TOOL, &format!("{}: order '{verb}' refused: {why}", self.config.name));
        }
        if let Some(id) = id {
            self.answers.push_back((clock::now(), Answer { id, refused, incarnation }));
            self.dirty = true;
        }
    }

    /// Those that somebody may still wait for.
    pub(super) fn fresh_answers(&mut self) -> Vec<Answer> {
        let now = clock::now();
        while let Some((given, _)) = self.answers.front()
            && (self.answers.len() > ANSWERS || now.saturating_sub(*given) > ANSWER_AGE)
        {
            self.answers.pop_front();
        }
        self.answers.iter().map(|(_, answer)| answer.clone()).collect()
    }

    fn obey(&mut self, verb: &str, words: &[&str]) -> Result<(), String> {
        let now = clock::now();
        let stopping = matches!(self.state.phase, Phase::Ending { cause: Cause::Stop, .. } | Phase::Over(_))
            || self.finished.is_some();
        match (verb, words) {
            ("restart", []) if stopping => return Err("it is being stopped".into()),
            ("restart", []) => self.event(Event::Restart, now),
            ("stop", []) => {
                // All that is left to stop then is the wait for a reader.
                self.hurry = matches!(self.state.phase, Phase::Over(_));
                self.event(Event::Stop(15), now);
            }
            ("reset", []) => self.event(Event::Reset, now),
            ("kill", [signal]) => {
                let signal = parse_signal(signal).ok_or_else(|| format!("no signal is named {signal}"))?;
                if self.child.is_none() || self.pending_exit.is_some() {
                    return Err("it is not running".into());
                }
                self.signal_child(signal, true);
            }
            _ => return Err("not an order".into()),
        }
        Ok(())
    }

    /// READY=1 and the like.
    pub(super) fn take_words(&mut self) {
        let said = self.listener.as_ref().map(crate::notify::Listener::read).unwrap_or_default();
        if self.child.is_none() || self.pending_exit.is_some() {
            return;
        }
        let now = clock::now();
        for said in said {
            self.liveness.progress(now);
            match said {
                Said::Ready => {
                    self.liveness.feed(now);
                    self.event(Event::Ready, now);
                }
                Said::Alive => self.liveness.feed(now),
                Said::Dead => self.event(Event::Fault(Cause::Watchdog), now),
                Said::Status(text) => {
                    self.run.status_text = (!text.is_empty()).then_some(text);
                    self.dirty = true;
                }
                Said::Stopping => {}
            }
        }
    }

    /// Stalls, the watchdog and heartbeats.
    pub(super) fn look_after(&mut self, now: Moment, woken: bool) {
        let answer = if woken {
            self.recorder.as_ref().and_then(|recorder| recorder.answers.take_beat_age())
        } else {
            None
        };
        if answer.is_none() && self.liveness.deadline().is_none_or(|due| now < due) {
            return;
        }
        for pump in [&self.out, &self.err].into_iter().flatten() {
            self.liveness.progress(Duration::from_millis(pump.shared.last_ms()));
        }
        if let Some(age) = answer {
            self.liveness.heard(age, now);
        }
        for verdict in self.liveness.tick(now, answer.is_some()) {
            match verdict {
                Verdict::AskHeartbeat => self.note(Note::AskBeat),
                Verdict::Beat => self.note(Note::Beat),
                Verdict::WatchdogMissed => {
                    self.emit("watchdog", &[]);
                    self.event(Event::Fault(Cause::Watchdog), now);
                }
                Verdict::Stalled => {
                    let limit = self.config.stall_after.unwrap_or_default();
                    let name = &self.config.name;
                    let limit = agor_common::time::human(limit);
                    output::warning(crate::TOOL, &format!("{name}: no output and no heartbeat for {limit}"));
                    self.emit("stalled", &[]);
                    if self.config.on_stall == OnStall::Restart {
                        self.event(Event::Fault(Cause::Stall), now);
                    } else {
                        self.run.reason = Some("stalled".into());
                        self.dirty = true;
                    }
                }
            }
        }
    }
}
