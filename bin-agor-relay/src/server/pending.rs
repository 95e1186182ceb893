//! Connections that have not authenticated yet. There is room for so many. Who comes when it is taken gets the place
//! of the oldest one of the address that has the most, the newcomer counted in; so an address can only use up what
//! is its own share, and where all have the same it is the oldest of all that goes. A client that means it is
//! pending for a few round trips only: to be in its way takes as many new connections in that time as there are
//! places.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::AbortHandle;

#[derive(Debug)]
struct Entry {
    serial: u64,
    /// As the throttle counts: an IPv4 address, or an IPv6 /64.
    network: IpAddr,
    task: Option<AbortHandle>,
}

/// Who is pending, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: RefCell<Vec<Entry>>,
    serial: Cell<u64>,
}

/// A place among them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pending: Rc<Pending>,
    serial: u64,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// A place for a connection from `network`.
    pub(crate) fn enter(self: &Rc<Self>, network: IpAddr) -> Place {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        self.entries.borrow_mut().push(Entry { serial, network, task: None });
        Place { pending: self.clone(), serial }
    }

    /// Names the task that has the place of this number; it is aborted where it has to give way.
    pub(crate) fn is_served_by(&self, serial: u64, task: AbortHandle) {
        if let Some(entry) = self.entries.borrow_mut().iter_mut().find(|entry| entry.serial == serial) {
            entry.task = Some(task);
        }
    }

    /// Makes room for a connection, from `newcomer` where that is known: returns whose oldest one had to go, or
    /// `None` where nobody is pending.
    pub(crate) fn displace(&self, newcomer: Option<IpAddr>) -> Option<IpAddr> {
        let mut entries = self.entries.borrow_mut();
        let mut counts: HashMap<IpAddr, usize> = newcomer.map(|network| (network, 1)).into_iter().collect();
        for entry in entries.iter() {
            *counts.entry(entry.network).or_default() += 1;
        }
        // Of two that have the same it is the newcomer's own that goes.
        let share = |of: IpAddr| (counts.get(&of), Some(of) == newcomer);
        let at = (0..entries.len()).max_by_key(|at| (share(entries[*at].network), Reverse(*at)))?;
        let entry = entries.remove(at);
        drop(entries);
        if let Some(task) = entry.task {
            task.abort();
        }
        Some(entry.network)
    }
}

impl Place {
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.entries.borrow_mut().retain(|entry| entry.serial != self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn the_oldest_of_the_greediest_gives_way_and_at_last_the_oldest_of_all() {
        let pending = Rc::new(Pending::default());
        assert_eq!(pending.displace(Some(address(1))), None);
        let mut places: Vec<Place> = [1, 2, 2, 2].map(|n| pending.enter(address(n))).into();
        let mut come = |n: u8, gone: u8| {
            assert_eq!(pending.displace(Some(address(n))), Some(address(gone)), "for {n}");
            places.push(pending.enter(address(n)));
        };
        // 1 2 2 2: its own, and then that of others until nobody has more than one.
        come(2, 2);
        come(3, 2);
        come(4, 2);
        // 1 2 3 4: each the oldest of all, or its own.
        come(5, 1);
        come(3, 3);
        come(6, 2);
        come(7, 4);
        assert_eq!(pending.displace(None), Some(address(5)));
        assert_eq!(pending.len(), 3);
        // The displaced ones' places were given away before they were dropped.
        drop(places);
        assert_eq!(pending.len(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        // Everybody gets in, and at the cost of nobody who has less; who has but one loses it to a newcomer only where
        // it is the oldest of all.
        #[test]
        fn nobody_is_kept_out(crowd in prop::collection::vec(0u8..6, 1..60), room in 1usize..20) {
            let pending = Rc::new(Pending::default());
            let count = |n: IpAddr| pending.entries.borrow().iter().filter(|entry| entry.network == n).count();
            let mut places = Vec::new();
            for n in crowd.into_iter().map(address) {
                if pending.len() >= room {
                    let oldest = pending.entries.borrow()[0].network;
                    let gone = pending.displace(Some(n)).unwrap();
                    prop_assert!(gone == n || count(gone) >= count(n));
                    prop_assert!(gone == n || count(gone) > 0 || gone == oldest);
                }
                places.push(pending.enter(n));
                prop_assert!(pending.len() <= room);
            }
        }
    }
}
