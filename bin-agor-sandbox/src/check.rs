//! Files in read-write grants that have another name elsewhere: writing to them changes the other one too.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::plan::Plan;

struct Seen {
    names: u64,
    links: u64,
    first: PathBuf,
}

/// One finding for each such file, at most 100.
#[inline(never)]
pub(crate) fn hard_links(plan: &Plan) -> Vec<String> {
    let mut roots = plan.writable();
    roots.sort();
    // A root below another is walked with it.
    let mut top: Vec<PathBuf> = Vec::new();
    for root in roots {
        if !top.iter().any(|known| root.starts_with(known)) {
            top.push(root);
        }
    }
    let mut seen: HashMap<(u64, u64), Seen> = HashMap::new();
    for root in &top {
        walk(root, &mut seen);
    }
    let mut leading: Vec<&Seen> = seen.values().filter(|file| file.links > file.names).collect();
    leading.sort_by(|a, b| a.first.cmp(&b.first));
    leading
        .into_iter()
        .take(100)
        .map(|file| {
            let outside = file.links - file.names;
            format!(
                "{} has {outside} more name(s) outside of the read-write grants (hard link)",
                file.first.display()
            )
        })
        .collect()
}

fn walk(path: &Path, seen: &mut HashMap<(u64, u64), Seen>) {
    let mut waiting = vec![path.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            let Ok(entries) = std::fs::read_dir(&path) else { continue };
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        } else if meta.nlink() > 1 && !meta.is_symlink() {
            let file = seen.entry((meta.dev(), meta.ino())).or_insert_with(|| Seen {
                names: 0,
                links: meta.nlink(),
                first: path.clone(),
            });
            file.names += 1;
        }
    }
}
