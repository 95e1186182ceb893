//! Failed logins per address: ten, then five minutes of 429. The port plays no part, an IPv6 network counts
//! as one address by its /64, and the table is bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Addresses that are remembered at most.
const CAPACITY: usize = 8192;

/// The rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Failures from one address before it is refused.
    pub(crate) failures: u32,
    /// How long it is refused, and how long failures are remembered.
    pub(crate) period: Duration,
}

#[derive(Debug)]
struct Record {
    failures: u32,
    last: Instant,
}

/// Who failed, and how often.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    table: HashMap<IpAddr, Record>,
}

/// What counts as one address: IPv4 whole (also where it is mapped into IPv6), IPv6 by its /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[8..].fill(0);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Throttle {
    /// How long `address` is still refused, if it is.
    pub(crate) fn refused(&self, address: IpAddr, limit: Limit, now: Instant) -> Option<Duration> {
        let record = self.table.get(&network(address))?;
        let age = now.saturating_duration_since(record.last);
        (record.failures >= limit.failures && age < limit.period).then(|| limit.period - age)
    }

    /// Counts one failure.
    pub(crate) fn failed(&mut self, address: IpAddr, limit: Limit, now: Instant) {
        let key = network(address);
        if !self.table.contains_key(&key) && self.table.len() >= CAPACITY {
            self.make_room(limit, now);
        }
        let record = self.table.entry(key).or_insert(Record { failures: 0, last: now });
        if now.saturating_duration_since(record.last) >= limit.period {
            record.failures = 0;
        }
        record.failures = record.failures.saturating_add(1);
        record.last = now;
    }

    /// Forgets what is over; then, if need be, the half that failed least, so that a flood of addresses
    /// with one failure each cannot free one that is refused.
    fn make_room(&mut self, limit: Limit, now: Instant) {
        self.table.retain(|_, record| now.saturating_duration_since(record.last) < limit.period);
        if self.table.len() < CAPACITY {
            return;
        }
        let mut ranks: Vec<(u32, Instant, IpAddr)> =
            self.table.iter().map(|(ip, r)| (r.failures.min(limit.failures), r.last, *ip)).collect();
        ranks.sort_unstable();
        for (_, _, ip) in ranks.drain(..CAPACITY / 2) {
            self.table.remove(&ip);
        }
    }

    /// Addresses in the table.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { failures: 10, period: Duration::from_secs(300) };

    #[test]
    fn ten_failures_then_five_minutes() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        for _ in 0..9 {
            throttle.failed(ip, LIMIT, start);
        }
        assert!(throttle.refused(ip, LIMIT, start).is_none());
        throttle.failed(ip, LIMIT, start);
        assert_eq!(throttle.refused(ip, LIMIT, start), Some(LIMIT.period));
        assert!(throttle.refused("192.0.2.8".parse().unwrap(), LIMIT, start).is_none());
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert!(throttle.refused(mapped, LIMIT, start).is_some());
        let later = start + LIMIT.period;
        assert!(throttle.refused(ip, LIMIT, later).is_none());
        throttle.failed(ip, LIMIT, later);
        assert!(throttle.refused(ip, LIMIT, later).is_none());
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        for host in 0..10u16 {
            throttle.failed(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, host)), LIMIT, now);
        }
        assert!(throttle.refused("2001:db8:1:2::ffff".parse().unwrap(), LIMIT, now).is_some());
        assert!(throttle.refused("2001:db8:1:3::1".parse().unwrap(), LIMIT, now).is_none());
    }

    #[test]
    fn a_hundred_thousand_addresses_neither_grow_it_nor_free_the_guilty() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        let guilty: IpAddr = "198.51.100.1".parse().unwrap();
        for _ in 0..10 {
            throttle.failed(guilty, LIMIT, now);
        }
        for n in 0..100_000u32 {
            throttle.failed(IpAddr::V4((0x0a00_0000 + n).into()), LIMIT, now);
            assert!(throttle.len() <= CAPACITY);
        }
        assert!(throttle.refused(guilty, LIMIT, now).is_some());
    }
}
