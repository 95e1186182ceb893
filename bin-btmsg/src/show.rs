//! Messages and dead letters as text and as JSON.

use std::time::Duration;

use agor_common::mail::dead::Letter;
use agor_common::mail::messages::{Message, State};
use agor_common::{text, time};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// A moment as JSON, null for none.
pub fn moment(ms: Option<i64>) -> Value {
    ms.map_or(Value::Null, |ms| json!(time::rfc3339_ms(ms)))
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "a span of time, not a sum of money")]
pub fn seconds(ms: i64) -> Value {
    json!(ms as f64 / 1000.0)
}

/// `3 min ago`, and the future as `in 3 min`.
pub fn ago(ms: i64, now_ms: i64) -> String {
    let past = now_ms.saturating_sub(ms);
    let span = time::human(Duration::from_millis(past.unsigned_abs()));
    if past < 0 { format!("in {span}") } else { format!("{span} ago") }
}

/// low, normal, high, urgent, or the number that an older client stored.
pub fn priority(number: i64) -> String {
    match number {
        -1 => "low".into(),
        0 => "normal".into(),
        1 => "high".into(),
        2 => "urgent".into(),
        other => other.to_string(),
    }
}

/// A message as a JSON object without its schema.
pub fn message(message: &Message, now_ms: i64) -> Value {
    let mut value = json!({
        "id": message.id, "from": message.from, "to": message.to, "text": message.body,
        "subject": message.subject, "priority": priority(message.priority), "thread": message.thread,
        "reply_to": message.reply_to, "channel": message.channel, "supersedes": message.supersedes,
        "kind": message.kind, "state": message.state(now_ms).word(), "sent_at": time::rfc3339_ms(message.sent_ms),
        "seq": message.seq, "deliveries": message.deliveries,
    });
    let mut add = |key: &str, set: Value| {
        if !set.is_null()
            && let Some(object) = value.as_object_mut()
        {
            object.insert(key.into(), set);
        }
    };
    add("encoding", json!(message.encoding));
    add("not_before", moment(message.not_before_ms));
    add("expires_at", moment(message.expires_ms));
    add("acked_at", moment(message.acked_ms));
    add("traceparent", json!(message.traceparent));
    if let Some(traceparent) = &message.traceparent {
        add("_meta", json!({ "traceparent": traceparent }));
    }
    add("superseded_by", json!(message.superseded_by));
    if !message.valid {
        add("invalid_utf8", json!(true));
    }
    if message.state(now_ms) == State::Leased {
        add("lease_until", moment(message.lease_until_ms));
        add("lease_holder", json!(message.lease_holder));
    }
    value
}

/// The first words of a message on one line.
pub fn preview(message: &Message, max: usize) -> String {
    body_preview(message.subject.as_deref(), &message.body, message.encoding.as_deref(), message.valid, max)
}

fn body_preview(
    subject: Option<&str>,
    body: &str,
    encoding: Option<&str>,
    valid: bool,
    max: usize,
) -> String {
    labelled(
        subject,
        body,
        encoding,
        valid,
        |words| text::preview(words, max),
        |body| text::preview(body, max),
    )
}

/// A channel's message: its subject and its text whole, on as many lines as it has.
pub fn post(subject: Option<&str>, body: &str, encoding: Option<&str>, valid: bool) -> String {
    labelled(subject, body, encoding, valid, text::single_line, |body| text::terminal(body).into_owned())
}

/// Subject and body, and what there is to be said of the body; what is encoded is no text.
fn labelled(
    subject: Option<&str>,
    body: &str,
    encoding: Option<&str>,
    valid: bool,
    say_subject: impl Fn(&str) -> String,
    say_body: impl Fn(&str) -> String,
) -> String {
    let mut line = String::new();
    if !valid {
        line.push_str("[invalid UTF-8] ");
    }
    if let Some(subject) = subject {
        line.push_str(&say_subject(subject));
        line.push_str(": ");
    }
    match encoding {
        Some(encoding) => line.push_str(&format!("[{} bytes of {encoding}]", body.len())),
        None => line.push_str(&say_body(body)),
    }
    line
}

/// A message whole, as text.
pub fn whole(message: &Message, now_ms: i64) -> String {
    let mut lines = vec![
        format!("id:       {}", text::single_line(&message.id)),
        format!("from:     {}", text::single_line(&message.from)),
        format!("to:       {}", text::single_line(&message.to)),
        format!("sent:     {} ({})", time::rfc3339_ms(message.sent_ms), ago(message.sent_ms, now_ms)),
        format!("state:    {}", message.state(now_ms).word()),
    ];
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            lines.push(format!("{:<10}{}", format!("{name}:"), text::single_line(value)));
        }
    };
    add("subject", message.subject.as_deref());
    if message.priority != 0 {
        add("priority", Some(&priority(message.priority)));
    }
    add("channel", message.channel.as_deref());
    add("thread", message.thread.as_deref());
    add("reply to", message.reply_to.as_deref());
    add("replaces", message.supersedes.as_deref());
    add("replaced", message.superseded_by.as_deref());
    add("encoding", message.encoding.as_deref());
    if !message.valid {
        add("note", Some("the stored text is not valid UTF-8; \u{fffd} stands for what is not"));
    }
    lines.push(String::new());
    lines.push(text::terminal(&message.body).into_owned());
    lines.join("\n")
}

/// A dead letter as a JSON object without its schema.
pub fn letter(letter: &Letter) -> Value {
    json!({
        "id": letter.id, "message_id": letter.message_id, "from": letter.from, "to": letter.to,
        "text": letter.body, "encoding": letter.encoding, "subject": letter.subject,
        "reason": letter.reason, "error": letter.error, "dead_at": time::rfc3339_ms(letter.dead_ms),
        "sent_at": time::rfc3339_ms(letter.sent_ms), "attempts": letter.attempts,
        "redriven_at": moment(letter.redriven_ms), "redriven_by": letter.redriven_by,
        "redriven_to": letter.redriven_to, "purged_at": moment(letter.purged_ms),
        "expires_at": moment(letter.expires_ms), "waiting": letter.is_open(), "valid_utf8": letter.valid,
    })
}

/// The first words of a dead letter on one line.
pub fn letter_preview(letter: &Letter, max: usize) -> String {
    if letter.purged_ms.is_some() {
        return "[purged]".into();
    }
    body_preview(letter.subject.as_deref(), &letter.body, letter.encoding.as_deref(), letter.valid, max)
}

/// A table without lines; the last column takes what is left of a terminal.
pub fn table(header: &[&str], rows: &[Vec<String>], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| text::single_line(cell)).collect()).collect();
    for row in narrowed(header, rows, width) {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| cut(line.trim_end(), width)).collect();
    lines.join("\n")
}

/// Shortens names where the last column, which says why, would not have room on a terminal of that width.
/// Ids of messages and reasons are left whole: they are there to be copied.
fn narrowed(header: &[&str], mut rows: Vec<Vec<String>>, width: Option<u16>) -> Vec<Vec<String>> {
    const NAME: usize = 12;
    const UUID: usize = 36;
    const LAST: usize = 28;
    let Some(width) = width.map(usize::from) else { return rows };
    let of = |rows: &[Vec<String>], at: usize| {
        let longest = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max();
        longest.unwrap_or(0).max(header[at].width())
    };
    let mut widths: Vec<usize> = (0..header.len()).map(|at| of(&rows, at)).collect();
    let Some((last, names)) = widths.split_last_mut() else { return rows };
    let wanted = (*last).min(LAST);
    while names.iter().map(|name| name + 2).sum::<usize>() + wanted > width {
        let least = |head: &str| match head {
            "ID" => UUID,
            "REASON" => usize::MAX,
            _ => NAME,
        };
        let widest = names.iter_mut().zip(header).filter(|(name, head)| **name > least(head));
        let Some((name, _)) = widest.max_by_key(|(name, _)| **name) else { break };
        *name -= 1;
    }
    for row in &mut rows {
        for (cell, width) in row.iter_mut().zip(names.iter()) {
            *cell = cut(cell, u16::try_from(*width).ok());
        }
    }
    rows
}

/// What fits into that many columns of a terminal, in which a character takes up to two.
pub fn cut(line: &str, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from).filter(|width| line.width() > *width) else {
        return line.to_owned();
    };
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken < width
    };
    let mut cut: String = line.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// The terminal's width, when stdout is one.
pub fn width(out: &agor_common::output::Out) -> Option<u16> {
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col).filter(|width| *width > 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_give_way_to_the_last_column() {
        let header = ["AGENT", "STATE", "WHY"];
        let row =
            |why: &str| vec![vec!["an-agent-with-a-very-long-name".to_owned(), "crashed".into(), why.into()]];
        let wide = table(&header, &row("it was killed"), Some(80));
        assert!(wide.contains("an-agent-with-a-very-long-name"), "{wide}");
        let narrow = table(&header, &row("it was killed by the kernel"), Some(60));
        assert!(
            narrow.contains("it was killed by the kernel") && narrow.contains("an-agent-with-a-"),
            "{narrow}"
        );
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        let piped = table(&header, &row(&"why ".repeat(50)), None);
        assert!(!piped.contains('…'), "{piped}");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let id = "01a208b5-4818-709d-a7f2-5ab66146e581".to_owned();
        let rows = vec![
            vec![id.clone(), "名前".repeat(12), "全角".repeat(40)],
            vec![id, "alice".into(), "hello".repeat(20)],
        ];
        let narrow = table(&["ID", "FROM", "MESSAGE"], &rows, Some(80));
        assert!(narrow.lines().all(|line| line.width() <= 80), "{narrow}");
        assert!(narrow.contains("全角全角全角"), "{narrow}");
        assert_eq!(cut("全角", Some(4)), "全角");
        assert_eq!(cut("全角x", Some(4)), "全…");
    }

    #[test]
    fn an_agents_long_id_leaves_room_and_a_reason_is_whole() {
        let rows =
            vec![vec!["a".repeat(90), "unknown_agent".into(), "why it is so and not otherwise".into()]];
        let narrow = table(&["ID", "REASON", "WHY"], &rows, Some(80));
        assert!(narrow.contains("unknown_agent") && narrow.contains("why it is so"), "{narrow}");
    }

    #[test]
    fn ids_stay_whole() {
        let rows =
            vec![vec!["01a208b5-4818-709d-a7f2-5ab66146e581".into(), "boss".into(), "hello".repeat(20)]];
        let narrow = table(&["ID", "FROM", "MESSAGE"], &rows, Some(60));
        assert!(narrow.contains("01a208b5-4818-709d-a7f2-5ab66146e581"), "{narrow}");
    }
}
