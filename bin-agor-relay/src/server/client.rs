//! A client: one controller over all of its connections, and the commands that it has had executed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::outbox::Outbox;
use crate::protocol::{self, Code, Refusal};

/// Commands whose answers are kept.
const KEPT: usize = 1024;
/// Bytes of answers that are kept.
const KEPT_BYTES: usize = 512 << 10;

/// What to do with a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Execute it.
    Execute,
    /// It is being executed; its answer will come.
    Pending,
    /// It has been executed: this was the answer.
    Done(Utf8Bytes),
    /// Too many are being executed.
    Full,
}

#[derive(Debug, Default)]
struct Commands {
    answers: HashMap<String, Option<Utf8Bytes>>,
    order: VecDeque<String>,
    bytes: usize,
}

/// One controller.
#[derive(Debug)]
pub(crate) struct Client {
    /// Chosen by the client in `hello`; empty for one that did not say.
    pub(crate) id: String,
    /// Name of its token.
    pub(crate) token: String,
    commands: RefCell<Commands>,
    /// Bytes that each session (by epoch) has taken from it.
    written: RefCell<HashMap<String, u64>>,
    outbox: RefCell<Weak<Outbox>>,
    connected: Cell<bool>,
    left: Cell<Instant>,
    /// Its commands that have a tool running.
    pub(super) tools: Cell<usize>,
}

impl Client {
    pub(crate) fn new(id: &str, token: &str) -> Rc<Client> {
        Rc::new(Client {
            id: id.to_owned(),
            token: token.to_owned(),
            commands: RefCell::default(),
            written: RefCell::default(),
            outbox: RefCell::default(),
            connected: Cell::new(false),
            left: Cell::new(Instant::now()),
            tools: Cell::new(0),
        })
    }

    /// For messages: never the whole id, which lets its holder take the client's place.
    pub(crate) fn label(&self) -> String {
        if self.id.is_empty() {
            self.token.clone()
        } else {
            format!("{}/{}", self.token, self.id.get(..8).unwrap_or(&self.id))
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Whether it has had a command executed before.
    pub(crate) fn was_seen(&self) -> bool {
        !self.commands.borrow().order.is_empty()
    }

    /// How long it has been without a connection.
    pub(crate) fn away(&self) -> Duration {
        if self.connected.get() { Duration::ZERO } else { self.left.get().elapsed() }
    }

    /// The connection that it uses from now on; the one before, if there still is one.
    pub(crate) fn connect(&self, outbox: &Rc<Outbox>) -> Option<Rc<Outbox>> {
        self.connected.set(true);
        self.outbox.replace(Rc::downgrade(outbox)).upgrade()
    }

    /// `outbox` is gone; does nothing where another connection has taken over. Returns whether it was current.
    pub(crate) fn disconnect(&self, outbox: &Rc<Outbox>) -> bool {
        let current = std::ptr::eq(self.outbox.borrow().as_ptr(), Rc::as_ptr(outbox));
        if current {
            self.connected.set(false);
            self.left.set(Instant::now());
        }
        current
    }

    /// Bytes that the session of this epoch has taken from it.
    pub(crate) fn written(&self, epoch: &str) -> u64 {
        self.written.borrow().get(epoch).copied().unwrap_or(0)
    }

    /// Counts bytes that a session has taken.
    pub(crate) fn count_written(&self, epoch: &str, bytes: usize) {
        *self.written.borrow_mut().entry(epoch.to_owned()).or_insert(0) += bytes as u64;
    }

    /// Looks the id of a command up and, where it is new, notes it.
    pub(crate) fn begin(&self, id: &str) -> Begin {
        let mut commands = self.commands.borrow_mut();
        match commands.answers.get(id) {
            Some(Some(answer)) => return Begin::Done(answer.clone()),
            Some(None) => return Begin::Pending,
            None => {}
        }
        while commands.order.len() >= KEPT || commands.bytes > KEPT_BYTES {
            let Some(oldest) = commands.order.front().cloned() else { break };
            if commands.answers.get(&oldest).is_some_and(Option::is_none) {
                return Begin::Full;
            }
            commands.order.pop_front();
            if let Some(Some(answer)) = commands.answers.remove(&oldest) {
                commands.bytes -= answer.len();
            }
        }
        commands.order.push_back(id.to_owned());
        commands.answers.insert(id.to_owned(), None);
        Begin::Execute
    }

    fn finish(&self, id: &str, answer: String, patiently: bool) {
        let answer = Utf8Bytes::from(answer);
        {
            let mut commands = self.commands.borrow_mut();
            if let Some(slot) = commands.answers.get_mut(id) {
                *slot = Some(answer.clone());
                commands.bytes += answer.len();
            }
        }
        if let Some(outbox) = self.outbox.borrow().upgrade() {
            if patiently { outbox.send_patiently(answer) } else { outbox.send(answer) }
        }
    }
}

/// The right, and the duty, to answer one command.
pub(crate) struct Reply {
    pub(crate) client: Rc<Client>,
    pub(crate) id: String,
    /// The trace that the command belongs to, if it said so: the answer says it too.
    pub(crate) trace: Option<String>,
}

impl Reply {
    fn finish(self, answer: String, patiently: bool) {
        let answer = protocol::in_trace(answer, self.trace.as_deref());
        self.client.finish(&self.id, answer, patiently);
    }

    pub(crate) fn ok(self, value: &serde_json::Value) {
        let text = protocol::result(&self.id, value);
        self.finish(text, false);
    }

    /// An answer in other words than `result`.
    pub(crate) fn text(self, text: String) {
        self.finish(text, false);
    }

    /// An answer that nobody waits for with his eyes on the clock.
    pub(crate) fn patiently(self, text: String) {
        self.finish(text, true);
    }

    pub(crate) fn refuse(self, refusal: &Refusal) {
        let text = protocol::error(Some(&self.id), refusal);
        self.finish(text, false);
    }

    pub(crate) fn answer(self, answer: Result<serde_json::Value, Refusal>) {
        match answer {
            Ok(value) => self.ok(&value),
            Err(refusal) => self.refuse(&refusal),
        }
    }
}

/// The clients that said who they are.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: HashMap<String, Rc<Client>>,
}

/// Clients that are remembered.
const CLIENTS: usize = 4096;
/// For how long without a connection.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Clients {
    /// The client of this id; a client belongs to the token that named it first.
    pub(crate) fn get(&mut self, id: &str, token: &str) -> Result<Rc<Client>, Refusal> {
        if let Some(client) = self.known.get(id) {
            if client.token != token {
                return Err(Refusal(Code::Forbidden, "this client id belongs to another token".into()));
            }
            return Ok(client.clone());
        }
        if self.known.len() >= CLIENTS {
            self.known.retain(|_, client| client.is_connected() || client.away() < REMEMBERED);
        }
        if self.known.len() >= CLIENTS {
            let oldest = self
                .known
                .values()
                .filter(|client| !client.is_connected())
                .max_by_key(|client| client.away())
                .map(|client| client.id.clone());
            match oldest {
                Some(id) => self.known.remove(&id),
                None => return Err(Refusal(Code::Limit, format!("{CLIENTS} clients are connected"))),
            };
        }
        let client = Client::new(id, token);
        self.known.insert(id.to_owned(), client.clone());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_id_gets_the_first_answer() {
        let client = Client::new("c", "t");
        let outbox = Rc::new(Outbox::default());
        client.connect(&outbox);
        assert_eq!(client.begin("1"), Begin::Execute);
        assert_eq!(client.begin("1"), Begin::Pending);
        Reply { client: client.clone(), id: "1".into(), trace: None }.ok(&serde_json::json!({"n": 1}));
        let first = outbox.next().unwrap();
        assert_eq!(client.begin("1"), Begin::Done(first));
    }

    #[test]
    fn answers_are_bounded_and_pending_ones_are_never_forgotten() {
        let client = Client::new("c", "t");
        for n in 0..KEPT {
            assert_eq!(client.begin(&n.to_string()), Begin::Execute);
        }
        assert_eq!(client.begin("more"), Begin::Full);
        client.finish("0", "x".into(), false);
        assert_eq!(client.begin("more"), Begin::Execute);
        assert_eq!(client.begin("even more"), Begin::Full);
    }

    #[test]
    fn a_client_belongs_to_its_token() {
        let mut clients = Clients::default();
        let one = clients.get("c", "a").unwrap();
        assert!(Rc::ptr_eq(&one, &clients.get("c", "a").unwrap()));
        assert_eq!(clients.get("c", "b").unwrap_err().0, Code::Forbidden);
    }
}
