//! Counters and gauges, summed here and sent as OTLP `Sum` and `Gauge` points.
//!
//! Two instruments are all that the tools use, so that the SDK's readers, views and threads stay out.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, Sum, metric, number_data_point,
};

use super::wire::{key_value, nanos};

/// More series than this (names times attributes) are dropped and counted.
const MAX_SERIES: usize = 2000;

type Attributes = Vec<(&'static str, String)>;

#[derive(Debug, Default)]
struct Instrument {
    unit: &'static str,
    monotonic: bool,
    /// Value, and whether it changed since the last snapshot.
    series: BTreeMap<Attributes, (f64, u64, bool)>,
}

#[derive(Debug)]
pub(super) struct Metrics {
    instruments: BTreeMap<&'static str, Instrument>,
    series: usize,
    since: u64,
    delta: bool,
    /// Points that did not fit.
    pub(super) dropped: u64,
}

impl Metrics {
    pub(super) fn new(delta: bool) -> Metrics {
        Metrics { instruments: BTreeMap::new(), series: 0, since: nanos(), delta, dropped: 0 }
    }

    fn slot(
        &mut self,
        name: &'static str,
        unit: &'static str,
        monotonic: bool,
        attributes: &[(&'static str, &str)],
    ) -> Option<&mut (f64, u64, bool)> {
        let mut key: Attributes = attributes.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        key.sort();
        let instrument = self.instruments.entry(name).or_insert_with(|| Instrument {
            unit,
            monotonic,
            ..Instrument::default()
        });
        if !instrument.series.contains_key(&key) {
            if self.series >= MAX_SERIES {
                self.dropped += 1;
                return None;
            }
            self.series += 1;
        }
        Some(instrument.series.entry(key).or_default())
    }

    pub(super) fn add(&mut self, name: &'static str, n: u64, attributes: &[(&'static str, &str)]) {
        if let Some(slot) = self.slot(name, "1", true, attributes) {
            slot.1 = slot.1.saturating_add(n);
            slot.2 = true;
        }
    }

    pub(super) fn set(
        &mut self,
        name: &'static str,
        unit: &'static str,
        value: f64,
        attributes: &[(&'static str, &str)],
    ) {
        if let Some(slot) = self.slot(name, unit, false, attributes) {
            slot.0 = value;
            slot.2 = true;
        }
    }

    /// What there is to send. Delta: only what changed, and counters start again from zero.
    pub(super) fn snapshot(&mut self) -> Vec<Metric> {
        let now = nanos();
        let since = self.since;
        let delta = self.delta;
        let mut list = Vec::new();
        for (name, instrument) in &mut self.instruments {
            let points: Vec<NumberDataPoint> = instrument
                .series
                .iter_mut()
                .filter(|(_, (_, _, changed))| *changed || !delta)
                .map(|(attributes, (value, count, changed))| {
                    *changed = false;
                    let number = if instrument.monotonic {
                        let n = i64::try_from(*count).unwrap_or(i64::MAX);
                        number_data_point::Value::AsInt(n)
                    } else {
                        number_data_point::Value::AsDouble(*value)
                    };
                    if delta {
                        *count = 0;
                    }
                    NumberDataPoint {
                        attributes: attributes.iter().map(|(key, value)| key_value(key, value)).collect(),
                        start_time_unix_nano: if instrument.monotonic { since } else { 0 },
                        time_unix_nano: now,
                        value: Some(number),
                        ..NumberDataPoint::default()
                    }
                })
                .collect();
            if points.is_empty() {
                continue;
            }
            let temporality =
                if delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative };
            let data = if instrument.monotonic {
                metric::Data::Sum(Sum {
                    data_points: points,
                    aggregation_temporality: temporality.into(),
                    is_monotonic: true,
                })
            } else {
                metric::Data::Gauge(Gauge { data_points: points })
            };
            list.push(Metric {
                name: (*name).to_owned(),
                unit: instrument.unit.to_owned(),
                data: Some(data),
                ..Metric::default()
            });
        }
        if delta {
            self.since = now;
        }
        list
    }
}

/// How many points a snapshot holds.
pub(super) fn points(list: &[Metric]) -> u64 {
    let count = |metric: &Metric| match &metric.data {
        Some(metric::Data::Sum(sum)) => sum.data_points.len(),
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.len(),
        _ => 0,
    };
    list.iter().map(count).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(list: &[Metric], name: &str) -> Vec<i64> {
        let metric = list.iter().find(|metric| metric.name == name).unwrap();
        let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        let value = |point: &NumberDataPoint| match point.value {
            Some(number_data_point::Value::AsInt(n)) => n,
            _ => -1,
        };
        sum.data_points.iter().map(value).collect()
    }

    #[test]
    fn delta_starts_again_and_cumulative_does_not() {
        for (delta, second) in [(true, 1), (false, 4)] {
            let mut metrics = Metrics::new(delta);
            metrics.add("a", 1, &[("x", "1"), ("y", "2")]);
            metrics.add("a", 2, &[("y", "2"), ("x", "1")]);
            assert_eq!(sum(&metrics.snapshot(), "a"), [3]);
            metrics.add("a", 1, &[("x", "1"), ("y", "2")]);
            assert_eq!(sum(&metrics.snapshot(), "a"), [second]);
            assert_eq!(metrics.snapshot().is_empty(), delta);
        }
    }

    #[test]
    fn series_are_bounded() {
        let mut metrics = Metrics::new(true);
        for n in 0..MAX_SERIES + 7 {
            metrics.set("g", "s", 1.5, &[("n", &n.to_string())]);
        }
        assert_eq!(metrics.dropped, 7);
        assert_eq!(points(&metrics.snapshot()), MAX_SERIES as u64);
    }
}
