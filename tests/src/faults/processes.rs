//! The processes of one run, found by a variable that only they have in their environment.

use std::path::Path;

/// The variable.
pub const MARK: &str = "AGOR_FAULT_WORLD";

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub pid: i32,
    /// Its arguments.
    pub words: Vec<String>,
}

impl Found {
    /// Whether its arguments end in these words, in this order, the first being the program.
    pub fn matches(&self, words: &[&str]) -> bool {
        let mut mine = self.words.iter();
        let Some(program) = mine.next() else { return false };
        let Some((name, rest)) = words.split_first() else { return false };
        Path::new(program).file_name().is_some_and(|file| file == *name)
            && rest.iter().all(|word| mine.any(|have| have == word))
    }
}

/// Every process, zombies aside, that carries `mark`, but for this one.
pub fn marked(mark: &str) -> Vec<Found> {
    let wanted = format!("{MARK}={mark}").into_bytes();
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != me)
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted))
        })
        .filter_map(|pid| Some(Found { pid, words: words(pid)? }))
        .collect()
}

fn words(pid: i32) -> Option<Vec<String>> {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> =
        raw.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    (words.len() > 1).then_some(words)
}

/// Every descendant of `pid`, itself first.
pub fn tree(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        let dir = format!("/proc/{}/task", all[next]);
        for task in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        next += 1;
    }
    all
}

/// Sends a signal; whether there was someone to send it to.
pub fn signal(pid: i32, signal: rustix::process::Signal) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}
