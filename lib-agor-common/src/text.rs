//! Text from elsewhere, made safe for a terminal or a log line.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character could move the cursor, change the display or hide text: C0 and C1 controls, DEL,
/// bidirectional overrides and isolates, line and paragraph separators, zero-width and tag characters.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{1b}' => out.push_str("\\e"),
        c if (c as u32) < 0x100 => {
            let _ = write!(out, "\\x{:02x}", c as u32);
        }
        c => {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        }
    }
}

/// One line, safe on a terminal: every control character, also newline and tab, becomes a visible escape.
pub fn single_line(text: &str) -> String {
    escape(text, |_| false).into_owned()
}

/// Safe on a terminal, with newlines and tabs kept: for message bodies that are shown whole.
pub fn terminal(text: &str) -> Cow<'_, str> {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hostile(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) && !keep(c) {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The first `max` characters on one line, with `…` where something was cut.
pub fn preview(text: &str, max: usize) -> String {
    let mut cut: String = text.chars().take(max).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    single_line(&cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_could_steer_a_terminal() {
        assert_eq!(single_line("a\u{1b}]0;x\u{7}b\n"), "a\\e]0;x\\x07b\\n");
        assert_eq!(terminal("a\tb\nc\u{9b}2J"), "a\tb\nc\\x9b2J");
        assert_eq!(single_line("\u{202e}evil"), "\\u{202e}evil");
        assert!(matches!(terminal("plain ü 😀"), Cow::Borrowed(_)));
    }

    #[test]
    fn previews_count_characters() {
        assert_eq!(preview("äöü", 2), "äö…");
        assert_eq!(preview("äö", 2), "äö");
    }
}
