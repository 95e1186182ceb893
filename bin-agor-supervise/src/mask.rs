//! Secrets do not belong in a database or a status line: what looks like one is replaced by `***`.
//!
//! Masked are the values of the command's own secret variables (names with KEY, TOKEN, SECRET, PASSWORD,
//! PASSWD, CREDENTIAL or AUTH), `key=value` and `key: value` of such names, `Bearer` and `Basic` credentials, a
//! URL's `user:password@`, tokens with a known beginning (`sk-`, `ghp_`, `AKIA`, `xoxb-`, `eyJ`, …) and PEM
//! private keys. A filter of this kind helps against accidents; it is no proof against intent.

/// What takes the place of a secret.
const STARS: &str = "***";

/// Beginnings of well-known tokens, and how long such a token is at least.
const PREFIXES: &[(&str, usize)] = &[
    ("sk-", 16),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("ghu_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxb-", 16),
    ("xoxp-", 16),
    ("xoxa-", 16),
    ("xapp-", 16),
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 30),
    ("ya29.", 20),
    ("npm_", 20),
    ("hf_", 20),
    ("eyJ", 30),
];

const WORDS: &[&str] =
    &["key", "token", "secret", "password", "passwd", "pwd", "credential", "authorization"];

/// Whether a variable or field of this name holds a secret.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // The shell's working directories, not passwords.
    if matches!(name.as_str(), "pwd" | "oldpwd") {
        return false;
    }
    let word = |word: &&str| name.ends_with(*word) || name.ends_with(&format!("{word}s"));
    WORDS.iter().any(word) || name.contains("secret") || name.contains("password")
}

/// Replaces secrets in texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mask {
    values: Vec<String>,
}

impl Mask {
    /// One that knows the values of the secret variables among `env`.
    pub(crate) fn new(env: impl IntoIterator<Item = (String, String)>) -> Mask {
        let mut values: Vec<String> = env
            .into_iter()
            .filter(|(name, value)| is_secret_name(name) && value.len() >= 6)
            .map(|(_, value)| value)
            .collect();
        // The longest first: one may be part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Mask { values }
    }

    /// `text` with stars for secrets.
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), STARS);
            }
        }
        pem(&words(&text))
    }

    /// A command line's words with stars for secrets, also for the value after `--token`.
    pub(crate) fn command(&self, words: &[String]) -> Vec<String> {
        let mut after_secret = false;
        words
            .iter()
            .map(|word| {
                let hide = std::mem::take(&mut after_secret);
                if hide && !word.starts_with('-') {
                    return STARS.to_owned();
                }
                after_secret = word.starts_with('-') && !word.contains('=') && is_secret_name(word);
                self.apply(word)
            })
            .collect()
    }
}

/// Goes through the text word by word; a word is what is between blanks, quotes and brackets.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // The next word is a value because of what came before it.
    let mut expected = false;
    // The last word was a secret's name.
    let mut named = false;
    while !rest.is_empty() {
        let end = rest.find(is_boundary).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        if !word.is_empty() {
            let lower = word.to_ascii_lowercase();
            if matches!(word, "=" | ":") {
                // "key": "value", key = value
                expected |= named;
                out.push_str(word);
            } else if expected && matches!(lower.as_str(), "bearer" | "basic" | "token") {
                out.push_str(word);
            } else if expected {
                out.push_str(STARS);
                expected = false;
            } else {
                expected = one(word, &mut out) || lower == "bearer";
            }
            named = is_secret_name(&lower);
        }
        let mut boundary = tail.chars();
        if let Some(c) = boundary.next() {
            out.push(c);
            expected &= c != '\n' && c != ',' && c != ';';
        }
        rest = boundary.as_str();
    }
    out
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';')
}

/// Writes one word, masked; true when a value is to follow.
fn one(word: &str, out: &mut String) -> bool {
    // scheme://user:password@host
    if let Some(start) = word.find("://").map(|at| at + 3) {
        let authority = word[start..].split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((user, _)) = user.split_once(':')
        {
            let at = start + authority.rfind('@').unwrap_or(0);
            out.push_str(&word[..start]);
            out.push_str(user);
            out.push(':');
            out.push_str(STARS);
            let _ = one(&word[at..], out);
            return false;
        }
    }
    if let Some(at) = word.find(['=', ':'])
        && !word[at..].starts_with("://")
    {
        let (name, value) = word.split_at(at);
        let name_end = name.rsplit(['?', '&', '.']).next().unwrap_or(name);
        if is_secret_name(name_end) {
            out.push_str(&word[..=at]);
            if value.len() > 1 {
                // key=value&more=…
                let (secret, more) = value[1..].split_once('&').unwrap_or((&value[1..], ""));
                if !secret.is_empty() {
                    out.push_str(STARS);
                }
                if !more.is_empty() {
                    out.push('&');
                    return one(more, out);
                }
                return false;
            }
            return true;
        }
        if let Some(amp) = word.find('&') {
            out.push_str(&word[..=amp]);
            return one(&word[amp + 1..], out);
        }
    }
    let known = PREFIXES.iter().find_map(|(prefix, length)| {
        let at = word.find(prefix)?;
        let before = word[..at].chars().next_back();
        let token = word[at..].split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).next()?;
        (before.is_none_or(|c| !c.is_ascii_alphanumeric()) && token.len() >= *length)
            .then_some((at, token.len()))
    });
    match known {
        Some((at, length)) => {
            out.push_str(&word[..at]);
            out.push_str(STARS);
            out.push_str(&word[at + length..]);
        }
        None => out.push_str(word),
    }
    false
}

fn pem(text: &str) -> String {
    // Of one whose beginning is not there any more.
    if let Some(end) = text.find("-----END ")
        && text[end..].lines().next().is_some_and(|line| line.contains("PRIVATE KEY-----"))
        && text.find("-----BEGIN ").is_none_or(|begin| begin > end)
    {
        let line = text[end..].find('\n').map_or(text.len(), |at| end + at);
        return format!("{STARS}{}", pem(&text[line..]));
    }
    let Some(start) = text.find("-----BEGIN ").filter(|at| text[*at..].contains("PRIVATE KEY-----")) else {
        return text.to_owned();
    };
    let end = text[start..].find("-----END ").map_or(text.len(), |at| {
        let at = start + at;
        text[at + 9..].find("-----").map_or(text.len(), |more| at + 9 + more + 5)
    });
    format!("{}{STARS}{}", &text[..start], pem(&text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_become_stars_and_the_rest_stays() {
        let mask = Mask::new(
            [("MY_API_KEY", "hunter2hunter2"), ("HOME", "/root/x"), ("OLDPWD", "/srv/project")]
                .map(|(name, value)| (name.into(), value.into())),
        );
        for (text, expected) in [
            ("plain text: nothing here", "plain text: nothing here"),
            ("in /srv/project/src", "in /srv/project/src"),
            ("value hunter2hunter2 leaked from /root/x", "value *** leaked from /root/x"),
            ("password=abc123 next", "password=*** next"),
            ("{\"api_key\": \"abc\", \"n\": 1}", "{\"api_key\": \"***\", \"n\": 1}"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            ("got sk-ant-api03-aaaaaaaaaaaa.", "got ***"),
            ("ghp_0123456789abcdefghij!", "***!"),
            ("https://bob:pw@host/path", "https://bob:***@host/path"),
            ("GET /x?token=abc&y=2", "GET /x?token=***&y=2"),
            ("time 12:30:45 ok", "time 12:30:45 ok"),
            ("task-12 and risk-averse-people-here", "task-12 and risk-averse-people-here"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
            ("MII\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
            ("a\n-----END CERTIFICATE-----\nx", "a\n-----END CERTIFICATE-----\nx"),
        ] {
            assert_eq!(mask.apply(text), expected);
        }
    }

    #[test]
    fn command_lines_too() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let masked = Mask::default().command(&words("agent --token abc --key=def --fast x"));
        assert_eq!(masked.join(" "), "agent --token *** --key=*** --fast x");
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_lines(text in "\\PC*(\n\\PC*){0,3}") {
            let masked = Mask::default().apply(&text);
            if !text.contains("-----") {
                prop_assert_eq!(masked.lines().count(), text.lines().count());
            }
        }
    }
}
