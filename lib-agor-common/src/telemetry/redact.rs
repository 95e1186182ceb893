//! What never leaves this machine: secrets, environment values, the home directory; and limits on size.
//!
//! Applied to the finished request, right before it is encoded, so that no path around it exists. Values are
//! compared with the secrets that this process knows (its own environment) and with the shapes that secrets
//! have. This is a net, not a proof: the tools' own rule is to put no body, token or argument in at all.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::settings;

const REDACTED: &str = "[redacted]";

/// What to look for and how much to keep.
#[derive(Debug)]
pub(super) struct Redactor {
    secrets: Vec<String>,
    home: Option<String>,
    value_limit: usize,
    attribute_limit: usize,
}

impl Redactor {
    pub(super) fn new(value_limit: usize, attribute_limit: usize) -> Redactor {
        let mut secrets = Vec::new();
        for (name, value) in std::env::vars_os() {
            let (Some(name), Ok(value)) = (name.to_str(), value.into_string()) else { continue };
            if name.contains("OTLP") && name.ends_with("HEADERS") {
                secrets.extend(header_secrets(&value));
            } else if is_secret_name(name) {
                secrets.push(value);
            }
        }
        // Shorter values would tear ordinary words apart.
        secrets.retain(|value| value.len() >= 6);
        secrets.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let home = std::env::var("HOME").ok().map(|home| home.trim_end_matches('/').to_owned());
        Redactor { secrets, home: home.filter(|home| home.len() > 1), value_limit, attribute_limit }
    }

    /// Attributes beyond the limit are dropped; returns how many.
    pub(super) fn attributes(&self, list: &mut Vec<KeyValue>) -> u32 {
        let dropped = list.len().saturating_sub(self.attribute_limit);
        list.truncate(self.attribute_limit);
        for pair in list {
            pair.key = self.text(&pair.key, 256);
            if let Some(value) = &mut pair.value {
                if is_secret_name(&pair.key)
                    && !matches!(value.value, Some(Value::BoolValue(_) | Value::IntValue(_)))
                {
                    value.value = Some(Value::StringValue(REDACTED.into()));
                } else {
                    self.value(value, 0);
                }
            }
        }
        u32::try_from(dropped).unwrap_or(u32::MAX)
    }

    pub(super) fn value(&self, value: &mut AnyValue, depth: usize) {
        match &mut value.value {
            Some(Value::StringValue(text)) => *text = self.text(text, self.value_limit),
            Some(Value::ArrayValue(array)) if depth < 4 => {
                array.values.truncate(self.attribute_limit);
                array.values.iter_mut().for_each(|value| self.value(value, depth + 1));
            }
            Some(Value::KvlistValue(list)) if depth < 4 => {
                self.attributes(&mut list.values);
            }
            Some(Value::ArrayValue(_) | Value::KvlistValue(_)) => value.value = None,
            Some(Value::BytesValue(bytes)) => bytes.truncate(self.value_limit),
            _ => {}
        }
    }

    /// The text without secrets, at most `limit` bytes long.
    pub(super) fn text(&self, text: &str, limit: usize) -> String {
        // Look a little further than what is kept, so that a secret across the cut is still seen whole.
        let mut text = Cow::Borrowed(cut(text, limit.saturating_add(4096)));
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), REDACTED));
            }
        }
        let mut text = shapes(&text);
        if let Some(home) = &self.home {
            text = without_home(&text, home);
        }
        if text.len() > limit {
            let keep = cut(&text, limit.saturating_sub('…'.len_utf8())).len();
            text.truncate(keep);
            text.push('…');
        }
        text
    }
}

/// What a variable of headers (`a=1,b=2`, percent-encoded) gives away.
fn header_secrets(text: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    for (_, value) in text.split(',').filter_map(|part| part.split_once('=')) {
        let sent = settings::percent_decoded(value.trim());
        secrets.extend(sent.iter().flat_map(|sent| sent.split_whitespace().next_back()).map(str::to_owned));
        secrets.extend([value.trim().to_owned()].into_iter().chain(sent));
    }
    secrets
}

/// At most `limit` bytes, whole characters.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn without_home(text: &str, home: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(home) {
        let (before, found) = rest.split_at(at);
        let after = &found[home.len()..];
        let whole = !after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        out.push_str(before);
        out.push_str(if whole { "~" } else { home });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether a name (of a variable, flag, field or header) speaks of a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase().replace(['-', '.'], "_");
    lower.split('_').any(|part| {
        matches!(
            part,
            "token" | "secret" | "secrets" | "password" | "passwd" | "passphrase" | "authorization" | "credential"
                | "credentials" | "apikey" | "cookie" | "bearer"
        )
    }) || ["api_key", "private_key", "access_key", "secret_key", "auth_key", "session_key", "signing_key"]
        .iter()
        .any(|part| lower.contains(part))
        || lower.ends_with("_key")
        // A dotted name (`checkpoint.pass`) is one of our own and means something else.
        || (lower.ends_with("_pass") && !name.contains('.'))
}

/// `PATH`-like names: what stands behind their `=` is an environment value.
fn is_env_name(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Words that are secrets by their look: the prefixes that issuers give their keys, and JSON web tokens.
fn looks_secret(word: &str) -> bool {
    const PREFIXES: [&str; 14] = [
        "sk-",
        "sk_",
        "rk_",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
        "AKIA",
        "ASIA",
        "hf_",
    ];
    (word.len() >= 16 && PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        || (word.len() >= 20 && word.starts_with("eyJ") && word.contains('.'))
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '"' | '\'' | '`' | ',' | ';' | '&' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '|'
        )
}

/// Replaces what has the shape of a secret.
fn shapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The word before named a secret, and its value is still to come.
    let mut pending = false;
    // The word before was a bare secret name: `"token" : "x"` makes it count only with `:` or `=`.
    let mut named = false;
    let mut rest = text;
    while !rest.is_empty() {
        let blank = rest.find(|c| !is_separator(c)).unwrap_or(rest.len());
        out.push_str(&rest[..blank]);
        rest = &rest[blank..];
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word.is_empty() {
            continue;
        }
        if named && matches!(word, ":" | "=" | ":=" | "=>") {
            (pending, named) = (true, false);
            out.push_str(word);
            continue;
        }
        named = false;
        if pending {
            let scheme = ["bearer", "basic", "token"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
            if matches!(word, ":" | "=") || scheme {
                out.push_str(word);
            } else {
                out.push_str(REDACTED);
                pending = false;
            }
            continue;
        }
        (pending, named) = word_into(&mut out, word);
    }
    out
}

/// Adds one word; whether its value is still to come, and whether it is a bare secret name.
fn word_into(out: &mut String, word: &str) -> (bool, bool) {
    if looks_secret(word) {
        out.push_str(REDACTED);
        return (false, false);
    }
    if word.eq_ignore_ascii_case("bearer") {
        out.push_str(word);
        return (true, false);
    }
    if let Some((scheme, host)) = word.split_once("://") {
        let authority = host.split('/').next().unwrap_or_default();
        match authority.rsplit_once('@') {
            Some((user, _)) => {
                out.push_str(scheme);
                out.push_str("://");
                out.push_str(REDACTED);
                out.push_str(&host[user.len()..]);
            }
            None => out.push_str(word),
        }
        return (false, false);
    }
    if let Some((key, value)) = word.split_once(['=', ':']) {
        let separator = &word[key.len()..=key.len()];
        let secret = is_secret_name(key);
        if secret || (separator == "=" && is_env_name(key)) {
            out.push_str(key);
            out.push_str(separator);
            if value.is_empty() {
                return (secret, false);
            }
            out.push_str(REDACTED);
            return (false, false);
        }
        out.push_str(key);
        out.push_str(separator);
        if !value.is_empty() {
            return word_into(out, value);
        }
        return (false, false);
    }
    out.push_str(word);
    let secret = is_secret_name(word);
    (secret && word.starts_with('-'), secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor {
            secrets: vec!["correct-horse".into()],
            home: Some("/home/ada".into()),
            value_limit: 64,
            attribute_limit: 4,
        }
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let r = redactor();
        for (given, want) in [
            ("open /home/ada/x: denied", "open ~/x: denied"),
            ("/home/adam/x", "/home/adam/x"),
            ("say correct-horse now", "say [redacted] now"),
            ("--token hunter2 --as a", "--token [redacted] --as a"),
            ("--token=hunter2", "--token=[redacted]"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
            ("authorization: Basic dTpw x", "authorization: Basic [redacted] x"),
            ("{\"token\": \"hunter2\", \"n\": 1}", "{\"token\": \"[redacted]\", \"n\": 1}"),
            ("{\"api_key\":\"hunter2\"}", "{\"api_key\":\"[redacted]\"}"),
            ("ANTHROPIC_API_KEY=hunter2 LANG=C", "ANTHROPIC_API_KEY=[redacted] LANG=[redacted]"),
            ("GET http://u:p@h:1/x", "GET http://[redacted]@h:1/x"),
            ("see http://h:1/x?token=abc&y=2", "see http://h:1/x?token=[redacted]&y=2"),
            ("input_tokens 12, exit code 3", "input_tokens 12, exit code 3"),
            ("the token was refused", "the token was refused"),
            ("btmsg.send to manager: done", "btmsg.send to manager: done"),
        ] {
            assert_eq!(r.text(given, 4096), want);
        }
        let key = format!("{}{}", "sk-", "0123456789abcdef");
        assert_eq!(r.text(&format!("key {key}, used"), 4096), "key [redacted], used");
    }

    #[test]
    fn a_header_is_a_secret_as_it_is_sent_and_without_its_scheme() {
        let mut r = redactor();
        r.secrets =
            header_secrets("authorization=Bearer%20hunter2-a, x-key=hunter2%2Bb ,bad,x=%zz-hunter2-c");
        for given in ["hunter2-a", "hunter2+b", "hunter2%2Bb", "%zz-hunter2-c"] {
            assert_eq!(r.text(&format!("no {given}: denied"), 4096), format!("no {REDACTED}: denied"));
        }
    }

    #[test]
    fn values_and_counts_are_capped() {
        let r = redactor();
        let long = "ä".repeat(5_000_000);
        let text = r.text(&long, 64);
        assert!(text.len() <= 64 && text.ends_with('…'), "{}", text.len());
        let pair = |key: &str, value: &str| KeyValue {
            key: key.into(),
            value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
            ..KeyValue::default()
        };
        let mut list: Vec<_> = (0..10_000).map(|n| pair(&format!("k{n}"), "v")).collect();
        list[0] = pair("relay.token", "hunter2");
        assert_eq!(r.attributes(&mut list), 9_996);
        assert_eq!(list.len(), 4);
        assert_eq!(list[0], pair("relay.token", REDACTED));
        assert_eq!(list[1], pair("k1", "v"));
    }
}
