//! The bridge: what has been received and acknowledged, over as many connections as it takes.

mod events;
mod input;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use agor_common::{Exit, output};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::link::{Came, Failed, Link, Target};
use super::state::State;
use super::stdio::{self, FileId, Piece, Wrote};
use crate::TOOL;
use crate::cli::{Connect, Linger};
use crate::error::Error;

/// Input that may be on its way without an answer.
const WINDOW_BYTES: usize = 1 << 20;
const WINDOW_COMMANDS: usize = 256;
/// The relay hears what has arrived after this many events, or when nothing more comes.
const ACK_EVERY: u64 = 32;
/// Pauses between attempts to connect again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For so long a connection that was given up may still be heard of at the relay.
const OWN_ECHO: Duration = Duration::from_secs(300);

/// One `session_write` without an answer.
struct Sent {
    id: u64,
    text: Utf8Bytes,
    bytes: usize,
}

/// Why a connection is over.
enum Over {
    /// Everything is done.
    Done(Exit),
    /// Connect again.
    Lost(String),
    Fatal(Error),
}

/// Everything that outlives a connection.
pub(super) struct Bridge<'a> {
    args: &'a Connect,
    target: Target,
    client: String,
    epoch: String,
    /// The last event that was handed to stdout.
    seq: Option<u64>,
    /// The last event that is out.
    written: u64,
    acked: u64,
    next_id: u64,
    unanswered: VecDeque<Sent>,
    unanswered_bytes: usize,
    /// Input that waits for room in the window.
    stdin: Option<mpsc::Receiver<Vec<u8>>>,
    resume_stdin: Option<(FileId, i64)>,
    stdin_ended: bool,
    eof_sent: bool,
    out: Option<mpsc::Sender<Piece>>,
    wrote: mpsc::UnboundedReceiver<Wrote>,
    pending_out: usize,
    state_for_writer: Option<State>,
    skip: u64,
    chunk: usize,
    lines: u64,
    quiet_since: Instant,
    exit: Option<Exit>,
    ended: bool,
    /// Connected at least once.
    was_up: bool,
    /// The present connection has its attach answered.
    up: bool,
    /// When a connection was given up last. What it had said may reach the relay late, and then the relay takes
    /// it for the newer one.
    abandoned: Option<Instant>,
}

impl<'a> Bridge<'a> {
    pub(super) fn new(args: &'a Connect, target: Target) -> Result<Bridge<'a>, Error> {
        let state = args
            .state
            .as_ref()
            .map(|path| State::open(path, &target.authority, &args.session))
            .transpose()?;
        let mut epoch = String::new();
        let (mut seq, mut skip, mut resume_stdin) = (None, 0, None);
        let client = match &state {
            Some(state) => {
                epoch.clone_from(&state.noted.epoch);
                if !epoch.is_empty() {
                    seq = Some(state.noted.seq);
                    resume_stdin = state.noted.stdin;
                    // Killed between writing and noting it: the file itself says how much is out.
                    let now = stdio::regular(&stdio::stdout()?);
                    if let (Some((then_id, then)), Some((now_id, now))) = (state.noted.stdout, now)
                        && then_id == now_id
                    {
                        skip = now.saturating_sub(then);
                    }
                }
                state.noted.client.clone()
            }
            None => uuid::Uuid::new_v4().simple().to_string(),
        };
        let (_, wrote) = mpsc::unbounded_channel();
        Ok(Bridge {
            args,
            target,
            client,
            epoch,
            seq,
            written: seq.unwrap_or(0),
            acked: 0,
            next_id: 1,
            unanswered: VecDeque::new(),
            unanswered_bytes: 0,
            stdin: None,
            resume_stdin,
            stdin_ended: args.observe,
            eof_sent: false,
            out: None,
            wrote,
            pending_out: 0,
            state_for_writer: state,
            skip,
            chunk: stdio::BLOCK,
            lines: 0,
            quiet_since: Instant::now(),
            exit: None,
            ended: false,
            was_up: false,
            up: false,
            abandoned: None,
        })
    }

    /// Connects, bridges, connects again, until it is over.
    pub(super) async fn run(&mut self) -> Result<Exit, Error> {
        let mut lost_at: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            self.up = false;
            match self.target.open(self.args.timeout).await {
                Ok(link) => match self.connection(link).await {
                    Over::Done(exit) => return Ok(exit),
                    Over::Fatal(error) => return Err(error),
                    Over::Lost(why) => {
                        let now = Instant::now();
                        // Whoever takes connections and drops them before they are of use is no relay.
                        if lost_at.is_none() || self.up {
                            lost_at = Some(now);
                            pause = FIRST_PAUSE;
                        }
                        if lost_at.is_none_or(|at| at.elapsed() >= self.args.retry) {
                            let what = format!("connection to {} lost: {why}", self.target.authority);
                            return Err(Error::Unreachable { what, hint: None });
                        }
                        output::notice(TOOL, &format!("connection lost ({why}): connecting again"));
                        self.abandoned = Some(now);
                    }
                },
                Err(Failed::Never(error)) => return Err(error),
                Err(Failed::Later(error)) => match lost_at {
                    Some(at) if at.elapsed() < self.args.retry => {}
                    _ => return Err(error),
                },
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connection(&mut self, mut link: Link) -> Over {
        let attach_id = self.greet(&mut link);
        let mut attached = false;
        let began = Instant::now();
        let mut heard = began;
        let mut tick = tokio::time::interval((self.args.ping / 2).min(Duration::from_millis(100)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pinged = Instant::now();
        let mut read = 0;
        loop {
            let room = self.out.as_ref().is_none_or(|out| out.capacity() > 0);
            let window = attached
                && self.unanswered_bytes < WINDOW_BYTES
                && self.unanswered.len() < WINDOW_COMMANDS
                && self.stdin.is_some();
            tokio::select! {
                came = std::future::poll_fn(|cx| link.poll(cx, room)) => {
                    heard = Instant::now();
                    let over = match came {
                        Came::Alive => None,
                        Came::Text(text) => self.event(&mut link, &text, &attach_id, &mut attached),
                        Came::Closed(frame) => Some(closed(frame, self.abandoned)),
                        Came::Lost(why) => Some(Over::Lost(why)),
                    };
                    if let Some(over) = over {
                        return self.finish(over, link).await;
                    }
                }
                Some(wrote) = self.wrote.recv() => {
                    if let Some(over) = self.wrote(&mut link, &wrote) {
                        return self.finish(over, link).await;
                    }
                }
                block = next_block(&mut self.stdin), if window => match block {
                    Some(block) => self.input(&mut link, &block),
                    None => {
                        self.stdin = None;
                        self.stdin_ended = true;
                        self.quiet_since = Instant::now();
                    }
                },
                _ = tick.tick() => {
                    // On a slow link one message takes its time: its bytes are signs of life too.
                    if std::mem::replace(&mut read, link.read()) != link.read() {
                        heard = Instant::now();
                    }
                    if !attached && began.elapsed() >= self.args.timeout {
                        return Over::Lost("the relay does not answer".into());
                    }
                    if room && heard.elapsed() >= self.args.ping * 2 {
                        return Over::Lost("the relay is silent".into());
                    }
                    if pinged.elapsed() >= self.args.ping {
                        pinged = Instant::now();
                        link.ping = true;
                    }
                    self.ack(&mut link);
                }
            }
            if attached && let Some(over) = self.is_over(&mut link) {
                return self.finish(over, link).await;
            }
        }
    }

    /// Says goodbye where that makes sense, once everything is written.
    async fn finish(&mut self, over: Over, mut link: Link) -> Over {
        if matches!(over, Over::Done(_)) {
            self.ack(&mut link);
            link.close().await;
        }
        over
    }

    /// Whether there is a reason to end.
    fn is_over(&mut self, link: &mut Link) -> Option<Over> {
        let all_out = self.pending_out == 0;
        if self.ended && all_out {
            return Some(Over::Done(self.exit.unwrap_or(Exit::OK)));
        }
        if let Some(wanted) = self.args.replies
            && self.lines >= wanted
            && all_out
            && self.unanswered.is_empty()
        {
            return Some(Over::Done(Exit::OK));
        }
        if !self.stdin_ended || self.args.observe || !self.unanswered.is_empty() {
            return None;
        }
        if self.args.eof {
            if !std::mem::replace(&mut self.eof_sent, true) {
                self.command(link, "session_write", &json!({ "eof": true }), 0);
            }
            return None;
        }
        match self.args.linger {
            Linger::Forever => None,
            Linger::For(quiet) if all_out && self.quiet_since.elapsed() >= quiet => {
                if let Some(wanted) = self.args.replies {
                    let what = format!("{} of {wanted} replies came before --linger ran out", self.lines);
                    return Some(Over::Fatal(Error::Deadline { what }));
                }
                Some(Over::Done(Exit::OK))
            }
            Linger::For(_) => None,
        }
    }
}

async fn next_block(stdin: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match stdin {
        Some(stdin) => stdin.recv().await,
        None => std::future::pending().await,
    }
}

fn closed(
    frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>,
    abandoned: Option<Instant>,
) -> Over {
    let Some(frame) = frame else { return Over::Lost("closed".into()) };
    let reason = agor_common::text::single_line(&frame.reason);
    match u16::from(frame.code) {
        // Another process with our state; unless it may be ourselves.
        4000 if abandoned.is_none_or(|at| at.elapsed() >= OWN_ECHO) => Over::Fatal(Error::Busy {
            what: "another connect with the same state took this one's place".into(),
            hint: None,
        }),
        code if reason.is_empty() => Over::Lost(format!("closed with {code}")),
        code => Over::Lost(format!("{reason} ({code})")),
    }
}
