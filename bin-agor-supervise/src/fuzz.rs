//! What the fuzz targets call; not part of the library's surface.

use crate::{mask::Mask, names, notify};

/// What a command may say over its notify socket, and what it is called.
pub fn said(data: &[u8]) {
    for said in notify::parse(data) {
        if let notify::Said::Status(text) = said {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    let text = String::from_utf8_lossy(data);
    if let Some(number) = names::parse_signal(&text) {
        assert_eq!(names::parse_signal(&number.to_string()), Some(number));
    }
    let file = names::file_name(&text);
    assert!(file.len() <= 60 && !file.contains('/') && !file.starts_with('.'), "{file:?}");
    assert!(file.is_empty() == text.is_empty());
}

/// Secrets in a command line and in a command's last words.
pub fn mask(data: &[u8]) {
    const SECRET: &str = "correct-horse-battery";
    let text = String::from_utf8_lossy(data);
    let mask = Mask::new([("API_TOKEN".to_owned(), SECRET.to_owned())]);
    assert!(!mask.apply(&format!("{text} {SECRET} {text}")).contains(SECRET));
    let words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    assert_eq!(mask.command(&words).len(), words.len());
}
