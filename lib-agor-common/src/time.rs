//! Times as text: RFC 3339 UTC with milliseconds, and the earlier system's `YYYY-MM-DD HH:MM:SS`.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// Now, as milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// `2026-11-23T12:30:00.123Z`. Out-of-range values show as the epoch's nearest end.
pub fn rfc3339_ms(ms: i64) -> String {
    let time =
        Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{time:.3}")
}

/// Now as RFC 3339.
pub fn now_rfc3339() -> String {
    rfc3339_ms(now_ms())
}

/// `2026-11-23 12:30:00` (UTC), as the earlier system stores times.
pub fn legacy(ms: i64) -> String {
    let text = rfc3339_ms(ms);
    let mut text = text.get(..19).unwrap_or(&text).to_owned();
    if text.len() > 10 {
        text.replace_range(10..11, " ");
    }
    text
}

/// Reads RFC 3339, the earlier system's form, or Unix seconds; milliseconds since the epoch.
pub fn parse_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    if text.len() == 19 && text.as_bytes()[10] == b' ' {
        let rfc = format!("{}T{}Z", &text.get(..10)?, &text.get(11..)?);
        return rfc.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    }
    text.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1000))
}

/// A system time in milliseconds since the epoch (negative before it).
pub fn system_ms(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// A short human form: `0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `4 d`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() {
        let ms = 1_795_437_045_678;
        assert_eq!(rfc3339_ms(ms), "2026-11-23T12:30:45.678Z");
        assert_eq!(rfc3339_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(legacy(ms), "2026-11-23 12:30:45");
        assert_eq!(parse_ms(&rfc3339_ms(ms)), Some(ms));
        assert_eq!(parse_ms("2026-11-23 12:30:45"), Some(1_795_437_045_000));
        assert_eq!(parse_ms("1795437045"), Some(1_795_437_045_000));
        assert_eq!(parse_ms("soon"), None);
        assert_eq!(parse_ms("2026-11-23é12:30:4"), None);
    }
}
