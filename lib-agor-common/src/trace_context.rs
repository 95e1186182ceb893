//! W3C Trace Context: `traceparent` and `tracestate` as environment variables and stored text.
//!
//! Source: W3C Trace Context Level 1, section 3.2. A malformed value is ignored, never an error.

/// `TRACEPARENT`, the variable that every tool reads and hands on.
pub const TRACEPARENT: &str = "TRACEPARENT";
/// `TRACESTATE`.
pub const TRACESTATE: &str = "TRACESTATE";

/// `_meta` of an NDJSON object: how the context travels in band (the Model Context Protocol's convention,
/// SEP-414). Other keys in it are other people's.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Meta {
    /// `traceparent`; a malformed one is ignored by [`Meta::parent`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Meta {
    /// The valid `traceparent` in it.
    pub fn parent(&self) -> Option<TraceParent> {
        TraceParent::parse(self.traceparent.as_deref()?)
    }

    /// The valid `traceparent` in the `_meta` of `object`.
    pub fn parent_in(object: &serde_json::Value) -> Option<TraceParent> {
        TraceParent::parse(object.get("_meta")?.get("traceparent")?.as_str()?)
    }
}

/// A valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// 128-bit trace id, never zero.
    pub trace_id: u128,
    /// 64-bit id of the parent span, never zero.
    pub span_id: u64,
    /// Trace flags; bit 0 is `sampled`.
    pub flags: u8,
}

impl TraceParent {
    /// Parses `00-<32 hex>-<16 hex>-<2 hex>`: lower case only, ids not zero, version not `ff`. A later
    /// version may carry more fields after a dash; version 00 may not.
    pub fn parse(text: &str) -> Option<TraceParent> {
        let bytes = text.as_bytes();
        if bytes.len() < 55 || !text.is_ascii() {
            return None;
        }
        let hex = |range: std::ops::Range<usize>| {
            let part = &text[range];
            part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)).then_some(part)
        };
        if bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' {
            return None;
        }
        let version = hex(0..2)?;
        if version == "ff" || (version == "00" && bytes.len() != 55) {
            return None;
        }
        if bytes.len() > 55 && bytes[55] != b'-' {
            return None;
        }
        let trace_id = u128::from_str_radix(hex(3..35)?, 16).ok()?;
        let span_id = u64::from_str_radix(hex(36..52)?, 16).ok()?;
        let flags = u8::from_str_radix(hex(53..55)?, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(TraceParent { trace_id, span_id, flags })
    }

    /// From `TRACEPARENT`, if it is set and valid.
    pub fn from_env() -> Option<TraceParent> {
        TraceParent::parse(&std::env::var(TRACEPARENT).ok()?)
    }

    /// Whether the sampled flag is set.
    pub fn sampled(self) -> bool {
        self.flags & 1 == 1
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn meta_is_read_and_other_keys_are_left_alone() {
        let object = serde_json::json!({ "_meta": { "traceparent": GOOD, "progressToken": 1 } });
        assert_eq!(Meta::parent_in(&object).unwrap().to_string(), GOOD);
        let meta: Meta = serde_json::from_value(object["_meta"].clone()).unwrap();
        assert_eq!(meta.parent().unwrap().to_string(), GOOD);
        for other in [serde_json::json!({}), serde_json::json!({ "_meta": { "traceparent": "x" } })] {
            assert_eq!(Meta::parent_in(&other), None);
        }
    }

    #[test]
    fn valid_values_round_trip() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!(parent.to_string(), GOOD);
        assert!(parent.sampled());
        assert!(
            TraceParent::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra").is_some()
        );
    }

    #[test]
    fn malformed_values_are_ignored() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
