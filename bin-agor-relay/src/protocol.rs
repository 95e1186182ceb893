//! The messages: commands as they are parsed, events as they are written. agor-relay(7) is their reference
//! and `docs/relay-protocol.schema.json` their schema.

use std::borrow::Cow;
use std::fmt::Write as _;

use agor_common::trace_context::{Meta, TraceParent};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The protocol's version, in `ready`.
pub(crate) const SCHEMA: u32 = 1;
/// The session that a command without `session` means.
pub(crate) const DEFAULT_SESSION: &str = "default";
/// Bytes that a command id may have, quotes included.
const MAX_ID: usize = 128;

/// Why a command was not done. The codes are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// Not a JSON object, or not text.
    BadJson,
    /// `id` or `type` or a field of the payload is missing.
    MissingField,
    /// A field has the wrong type or value.
    BadField,
    /// No such command.
    UnknownType,
    /// No such session; it will not come back under this name and epoch.
    Gone,
    /// The token's scope does not reach this far.
    Forbidden,
    /// The session's input queue is full: wait for results, then send again under a new id.
    Busy,
    /// Another client is the session's writer.
    WriterTaken,
    /// The session's process is not running.
    NotRunning,
    /// It is running already.
    AlreadyRunning,
    /// A limit is reached.
    Limit,
    /// It was tried and failed; the message says why.
    Failed,
    /// The relay is shutting down.
    Draining,
}

/// A refusal: code and message.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) Code, pub(crate) String);

/// `{id, type, session?, payload?}` from the client.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    /// The id as JSON: a string or an integer.
    pub(crate) id: &'a str,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) session: Option<Cow<'a, str>>,
    pub(crate) payload: Option<&'a RawValue>,
    /// The trace that the command belongs to, from `_meta.traceparent`.
    pub(crate) parent: Option<TraceParent>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default, rename = "_meta")]
    meta: Option<Meta>,
}

/// The one field of an envelope that its refusal needs.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// An id as it may be: a string or an integer.
fn usable(id: &RawValue) -> Option<&str> {
    Some(id.get()).filter(|id| {
        id.len() <= MAX_ID && (id.starts_with('"') || id.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    })
}

fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

impl<'a> Command<'a> {
    /// Parses one message; on refusal also the id, where there was a usable one.
    pub(crate) fn parse(text: &'a str) -> Result<Command<'a>, (Option<&'a str>, Refusal)> {
        // serde would take an array of the fields for a struct.
        if !is_object(text) {
            return Err((None, Refusal(Code::BadJson, "not a command object".into())));
        }
        let envelope: Envelope<'a> = serde_json::from_str(text).map_err(|error| {
            let code = if error.is_data() { Code::BadField } else { Code::BadJson };
            // Another field is wrong: whoever waits for the answer finds it by the id.
            let id = serde_json::from_str::<Named<'a>>(text).ok().and_then(|named| named.id);
            (id.and_then(usable), Refusal(code, format!("not a command object: {error}")))
        })?;
        let id = envelope.id.map(RawValue::get);
        let Some(id) = envelope.id.and_then(usable) else {
            let refusal = match id {
                None => Refusal(Code::MissingField, "id is missing".into()),
                Some(_) => Refusal(
                    Code::BadField,
                    format!("id must be an integer or a string of at most {MAX_ID} bytes"),
                ),
            };
            return Err((None, refusal));
        };
        let Some(kind) = envelope.kind else {
            return Err((Some(id), Refusal(Code::MissingField, "type is missing".into())));
        };
        let parent = envelope.meta.as_ref().and_then(Meta::parent);
        Ok(Command { id, kind, session: envelope.session, payload: envelope.payload, parent })
    }

    /// The payload as `T`; an absent one is `{}`.
    pub(crate) fn payload<T: Deserialize<'a>>(&self) -> Result<T, Refusal> {
        let text = self.payload.map_or("{}", RawValue::get);
        if !is_object(text) {
            return Err(Refusal(Code::BadField, "payload: not an object".into()));
        }
        serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let code = if message.starts_with("missing field") { Code::MissingField } else { Code::BadField };
            Refusal(code, format!("payload: {message}"))
        })
    }

    pub(crate) fn session_name(&self) -> &str {
        self.session.as_deref().unwrap_or(DEFAULT_SESSION)
    }
}

/// The payload of a command that takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Bytes as a client sends them: text or base64, exactly one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    pub(crate) data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) data_base64: Option<Cow<'a, str>>,
    /// Close the session's stdin after this.
    #[serde(default)]
    pub(crate) eof: bool,
}

impl Data<'_> {
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>, Refusal> {
        match (&self.data, &self.data_base64) {
            (Some(text), None) => Ok(Cow::Borrowed(text.as_bytes())),
            (None, Some(text)) => STANDARD
                .decode(text.as_bytes())
                .map(Cow::Owned)
                .map_err(|error| Refusal(Code::BadField, format!("payload: data_base64: {error}"))),
            (None, None) if self.eof => Ok(Cow::Borrowed(&[])),
            (None, None) => {
                Err(Refusal(Code::MissingField, "payload: data or data_base64 is missing".into()))
            }
            (Some(_), Some(_)) => {
                Err(Refusal(Code::BadField, "payload: data and data_base64 exclude each other".into()))
            }
        }
    }
}

/// `text` as a JSON string, appended to `out`.
pub(crate) fn push_json_str(out: &mut String, text: &str) {
    // Writing a string into memory does not fail.
    if let Ok(quoted) = serde_json::to_string(text) {
        out.push_str(&quoted);
    }
}

/// An `output` event.
pub(crate) fn output(session: &str, seq: u64, stream: &str, data: &[u8], partial: bool) -> String {
    let mut out = String::with_capacity(data.len() + data.len() / 6 + 112);
    out.push_str("{\"type\":\"output\",\"session\":");
    push_json_str(&mut out, session);
    let _ = write!(out, ",\"seq\":{seq},\"stream\":\"{stream}\",");
    if partial {
        out.push_str("\"partial\":true,");
    }
    match std::str::from_utf8(data) {
        Ok(text) => {
            out.push_str("\"data\":");
            push_json_str(&mut out, text);
        }
        Err(_) => {
            out.push_str("\"data_base64\":\"");
            STANDARD.encode_string(data, &mut out);
            out.push('"');
        }
    }
    out.push('}');
    out
}

/// A `result` event; `value` is JSON.
pub(crate) fn result(id: &str, value: &serde_json::Value) -> String {
    format!("{{\"type\":\"result\",\"id\":{id},\"result\":{value}}}")
}

/// An `error` event; `id` is null where the command had none.
pub(crate) fn error(id: Option<&str>, Refusal(code, message): &Refusal) -> String {
    let code = serde_json::to_string(code).unwrap_or_default();
    let mut out =
        format!("{{\"type\":\"error\",\"id\":{},\"code\":{code},\"message\":", id.unwrap_or("null"));
    push_json_str(&mut out, message);
    out.push('}');
    out
}

/// `event`, an object, with the trace that it belongs to.
pub(crate) fn in_trace(mut event: String, traceparent: Option<&str>) -> String {
    if let Some(traceparent) = traceparent
        && event.ends_with('}')
    {
        event.pop();
        event.push_str(",\"_meta\":{\"traceparent\":");
        push_json_str(&mut event, traceparent);
        event.push_str("}}");
    }
    event
}

/// An event as a client reads it; fields that it does not use are skipped.
#[derive(Debug, Deserialize)]
pub(crate) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) session: Option<Cow<'a, str>>,
    pub(crate) seq: Option<u64>,
    #[serde(borrow)]
    pub(crate) stream: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) data_base64: Option<Cow<'a, str>>,
    pub(crate) code: Option<serde_json::Value>,
    #[serde(borrow)]
    pub(crate) message: Option<Cow<'a, str>>,
    pub(crate) signal: Option<i32>,
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    pub(crate) bytes: Option<u64>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
}

impl Event<'_> {
    pub(crate) fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match (&self.data, &self.data_base64) {
            (Some(text), _) => Some(Cow::Borrowed(text.as_bytes())),
            (None, Some(text)) => STANDARD.decode(text.as_bytes()).ok().map(Cow::Owned),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_typed_or_refused_with_a_code() {
        let command = Command::parse(r#"{"id":"a","type":"ping"}"#).unwrap();
        assert_eq!((command.id, &*command.kind, command.session_name()), ("\"a\"", "ping", "default"));
        assert_eq!(Command::parse(r#"{"id":7,"type":"ping","x":1}"#).unwrap().id, "7");
        let code = |text| Command::parse(text).unwrap_err().1.0;
        assert_eq!(code("{"), Code::BadJson);
        assert_eq!(code(""), Code::BadJson);
        assert_eq!(code("[1]"), Code::BadJson);
        assert_eq!(code(r#"[1,"ping",null,null,null]"#), Code::BadJson);
        assert_eq!(code("{}"), Code::MissingField);
        assert_eq!(code(r#"{"id":"a"}"#), Code::MissingField);
        assert_eq!(code(r#"{"id":{},"type":"ping"}"#), Code::BadField);
        assert_eq!(code(r#"{"id":"a","type":1}"#), Code::BadField);
        assert_eq!(Command::parse(r#"{"id":"a","session":"x"}"#).unwrap_err().0, Some("\"a\""));
        let id = |text| Command::parse(text).unwrap_err().0;
        assert_eq!(id(r#"{"id":"a","type":1}"#), Some("\"a\""));
        assert_eq!(id(r#"{"type":"ping","session":[],"id":-7}"#), Some("-7"));
        assert_eq!(id(r#"{"id":1,"id":2,"type":"ping"}"#), None);
        assert_eq!(id(r#"{"id":{},"type":1}"#), None);
        let listed = Command::parse(r#"{"id":1,"type":"session_write","payload":["a",null,true]}"#).unwrap();
        assert_eq!(listed.payload::<Data<'_>>().unwrap_err().0, Code::BadField);
    }

    #[test]
    fn data_is_text_or_base64() {
        let data = |text: &str| {
            let text = format!(r#"{{"id":1,"type":"session_write","payload":{text}}}"#);
            let command = Command::parse(&text).unwrap();
            let data: Data<'_> = command.payload()?;
            data.bytes().map(|bytes| bytes.to_vec())
        };
        assert_eq!(data(r#"{"data":"ü\n"}"#).unwrap(), "ü\n".as_bytes());
        assert_eq!(data(r#"{"data_base64":"/wA="}"#).unwrap(), [0xff, 0]);
        assert_eq!(data("{}").unwrap_err().0, Code::MissingField);
        assert_eq!(data(r#"{"data":1}"#).unwrap_err().0, Code::BadField);
        assert_eq!(data(r#"{"data":"a","data_base64":""}"#).unwrap_err().0, Code::BadField);
    }

    #[test]
    fn output_round_trips_any_bytes() {
        for bytes in [&b"line\n"[..], b"\xff\xfe\n", b"", "\u{2028}\0\"\\".as_bytes()] {
            let text = output("a\"b", 3, "stdout", bytes, !bytes.ends_with(b"\n"));
            let event: Event<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(event.bytes().unwrap().as_ref(), bytes);
            assert_eq!((event.seq, event.session.as_deref()), (Some(3), Some("a\"b")));
        }
    }
}
