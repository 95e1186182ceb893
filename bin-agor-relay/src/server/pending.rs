//! Connections that have not authenticated yet. There is room for so many; who comes when it is taken gets the place
//! of the oldest one of the address that has the most, unless that is its own or has no more than it would have
//! itself. So one address may use all of the room, and can keep nobody out with it.

use std::cell::{Cell, RefCell};
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

    /// Makes room for a connection from `network`: returns whose oldest one had to go, or `None` where nobody has
    /// more than the newcomer would have.
    pub(crate) fn displace(&self, network: IpAddr) -> Option<IpAddr> {
        let mut entries = self.entries.borrow_mut();
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in entries.iter() {
            *counts.entry(entry.network).or_default() += 1;
        }
        let count = |of: IpAddr| counts.get(&of).copied().unwrap_or(0);
        let at = (0..entries.len()).max_by_key(|at| (count(entries[*at].network), std::cmp::Reverse(*at)))?;
        if count(entries[at].network) <= count(network) + 1 {
            return None;
        }
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
    fn the_oldest_of_the_greediest_gives_way_and_nobody_gives_way_to_himself() {
        let pending = Rc::new(Pending::default());
        let mut places: Vec<Place> = [1, 2, 2, 2].map(|n| pending.enter(address(n))).into();
        assert_eq!(pending.displace(address(2)), None);
        assert_eq!(pending.displace(address(3)), Some(address(2)));
        places.push(pending.enter(address(3)));
        // Two have one each and one has two: there is no fairer split for a fourth to ask for, but one for a fifth.
        assert_eq!(pending.displace(address(1)), None);
        assert_eq!(pending.displace(address(4)), Some(address(2)));
        places.push(pending.enter(address(4)));
        assert_eq!(pending.displace(address(5)), None);
        assert_eq!(pending.len(), 4);
        // The displaced ones' places were given away before they were dropped.
        drop(places);
        assert_eq!(pending.len(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        // However many come from one address, one that has nothing pending always gets in while there is an address
        // with two.
        #[test]
        fn nobody_is_kept_out(crowd in prop::collection::vec(0u8..4, 1..60), room in 1usize..20) {
            let pending = Rc::new(Pending::default());
            let mut places = Vec::new();
            for n in crowd {
                if pending.len() < room || pending.displace(address(n)).is_some() {
                    places.push(pending.enter(address(n)));
                }
                prop_assert!(pending.len() <= room);
            }
            let full = pending.len() == room;
            let greedy = (0..4).any(|n| {
                pending.entries.borrow().iter().filter(|entry| entry.network == address(n)).count() > 1
            });
            prop_assert_eq!(pending.displace(address(9)).is_some(), greedy, "full: {}", full);
        }
    }
}
