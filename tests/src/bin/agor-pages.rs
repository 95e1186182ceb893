//! Writes the generated files (`write`), or says which of them are out of date (`check`).

use std::process::ExitCode;

use agor_common::output;
use agor_tests::pages;

fn main() -> ExitCode {
    let write = match std::env::args().nth(1).as_deref() {
        Some("write") => true,
        Some("check") => false,
        _ => {
            output::error("agor-pages", "say write or check", None);
            return ExitCode::from(2);
        }
    };
    let files = match pages::generated(&agor_tests::top()) {
        Ok(files) => files,
        Err(error) => {
            output::error("agor-pages", &format!("read the hand-written parts: {error}"), None);
            return ExitCode::from(66);
        }
    };
    let mut status = ExitCode::SUCCESS;
    for (path, content) in files {
        if std::fs::read_to_string(&path).is_ok_and(|there| there == content) {
            continue;
        }
        let failed = if write {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))
                .and_then(|()| std::fs::write(&path, content))
                .err()
                .map(|error| error.to_string())
        } else {
            Some("out of date: run make pages".to_owned())
        };
        if let Some(why) = failed {
            output::error("agor-pages", &format!("{}: {why}", path.display()), None);
            status = ExitCode::from(74);
        }
    }
    status
}
