//! What root may read in `/etc` and others may not: COMMAND of a root without capabilities still owns it.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The directories whose entries are looked at.
const PLACES: [&str; 9] = [
    "/etc",
    "/etc/ssh",
    "/etc/ssl",
    "/etc/pki/tls",
    "/etc/security",
    "/etc/letsencrypt",
    "/etc/NetworkManager",
    "/etc/kubernetes",
    "/etc/mysql",
];

/// Entries of these that root owns, itself or as a group, and that give nothing to others.
pub(crate) fn paths() -> Vec<PathBuf> {
    let private = |entry: &std::fs::DirEntry| {
        entry.metadata().is_ok_and(|meta| {
            let owned = meta.uid() == 0 || meta.gid() == 0;
            owned && meta.mode() & 0o007 == 0 && !meta.is_symlink() && (meta.is_dir() || meta.len() > 0)
        })
    };
    let entries = PLACES.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
    let mut found: Vec<PathBuf> = entries.filter(private).map(|entry| entry.path()).collect();
    found.sort();
    // What lies in one that is hidden is out of reach with it.
    found.dedup_by(|path, above| path.starts_with(above));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_read_is_not_among_them() {
        let found = paths();
        for shared in ["/etc/passwd", "/etc/hosts", "/etc/ssl"] {
            assert!(!found.contains(&shared.into()), "{shared}");
        }
        if std::fs::symlink_metadata("/etc/shadow").is_ok_and(|meta| meta.mode() & 0o007 == 0) {
            assert!(found.contains(&"/etc/shadow".into()));
        }
    }
}
