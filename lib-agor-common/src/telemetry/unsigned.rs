//! Keeps unsigned numbers numbers.
//!
//! The layer that turns `tracing` spans into OpenTelemetry ones knows `i64` but not `u64`, and writes the
//! latter down as text, which no query can sum. So the names of fields that were given as `u64` are noted
//! here, and their values turned back before they are sent.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

struct Notes;

impl Visit for Notes {
    fn record_u64(&mut self, field: &Field, _: u64) {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.get_or_insert_default().insert(field.name());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Notes the names.
pub(super) struct Unsigned;

impl<S: Subscriber> Layer<S> for Unsigned {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut Notes);
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Notes);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Notes);
    }
}

/// Turns the noted ones back into numbers.
pub(super) fn restore(attributes: &mut [KeyValue]) {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(names) = names.as_ref() else { return };
    for pair in attributes.iter_mut().filter(|pair| names.contains(pair.key.as_str())) {
        let value = pair.value.as_mut().and_then(|value| value.value.as_mut());
        if let Some(value) = value
            && let Value::StringValue(text) = value
            && let Ok(number) = text.parse::<u64>()
        {
            *value = Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}
