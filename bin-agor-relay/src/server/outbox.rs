//! What waits for one connection: its lane of answers, which goes ahead of all output, and its wake-up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use tokio_tungstenite::tungstenite::Utf8Bytes;

/// So many patient answers are company enough.
const PATIENT: usize = 32;

/// Wakes a connection's task.
#[derive(Debug, Default)]
pub(crate) struct Wake(RefCell<Option<Waker>>);

impl Wake {
    pub(crate) fn register(&self, waker: &Waker) {
        let mut slot = self.0.borrow_mut();
        match slot.as_mut() {
            Some(old) => old.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.0.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Why a connection is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// WebSocket close code.
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    /// Send what is waiting first.
    pub(crate) flush: bool,
}

/// One connection, as the rest of the relay sees it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) wake: Rc<Wake>,
    lane: RefCell<VecDeque<Utf8Bytes>>,
    bytes: Cell<usize>,
    /// How many at the end of the lane may wait for company.
    patient: Cell<usize>,
    cut: RefCell<Option<Cut>>,
}

impl Outbox {
    /// Puts an answer into the lane that need not go out alone: it leaves with whatever comes next, or after a
    /// moment. An echo then costs one record and one wake-up instead of two.
    pub(crate) fn send_patiently(&self, text: impl Into<Utf8Bytes>) {
        let patient = self.patient.get();
        self.send(text);
        self.patient.set(patient + 1);
    }

    /// Whether all that waits may wait a moment longer.
    pub(crate) fn is_patient(&self) -> bool {
        let waiting = self.lane.borrow().len();
        waiting > 0 && self.patient.get() >= waiting && waiting < PATIENT
    }

    /// Puts an answer into the lane.
    pub(crate) fn send(&self, text: impl Into<Utf8Bytes>) {
        self.patient.set(0);
        let text = text.into();
        self.bytes.set(self.bytes.get() + text.len());
        self.lane.borrow_mut().push_back(text);
        self.wake.wake();
    }

    pub(crate) fn next(&self) -> Option<Utf8Bytes> {
        let text = self.lane.borrow_mut().pop_front()?;
        self.patient.set(self.patient.get().saturating_sub(1));
        self.bytes.set(self.bytes.get() - text.len());
        Some(text)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub(crate) fn len(&self) -> usize {
        self.lane.borrow().len()
    }

    /// Ends the connection; the first reason stays.
    pub(crate) fn cut(&self, cut: Cut) {
        let mut slot = self.cut.borrow_mut();
        if slot.is_none() {
            *slot = Some(cut);
        }
        drop(slot);
        self.wake.wake();
    }

    pub(crate) fn is_cut(&self) -> Option<Cut> {
        self.cut.borrow().clone()
    }
}
