//! Pseudo-terminals of other programs of the same user: whoever opens one reads what is typed there.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FileType};

/// Every terminal below `/dev/pts` that this user may open and that is none of this process's own.
pub(crate) fn others() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev/pts") else { return Vec::new() };
    let own = own();
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
        .map(|entry| entry.path())
        .filter(|path| device(path).is_some_and(|device| !own.contains(&device)))
        .filter(|path| rustix::fs::access(path, Access::READ_OK).is_ok())
        .collect();
    paths.sort();
    paths
}

fn device(path: &Path) -> Option<u64> {
    let stat = rustix::fs::stat(path).ok()?;
    FileType::from_raw_mode(stat.st_mode).is_char_device().then_some(stat.st_rdev)
}

/// The devices of the standard streams, and of the controlling terminal.
fn own() -> Vec<u64> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams: [BorrowedFd<'_>; 3] = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let streams =
        streams.into_iter().filter_map(|stream| rustix::fs::fstat(stream).ok()).map(|stat| stat.st_rdev);
    streams.chain(std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(controlling)).collect()
}

/// The seventh field of `/proc/PID/stat` (proc_pid_stat(5)), `tty_nr`; the second one may hold anything.
fn controlling(stat: &str) -> Option<u64> {
    let number = stat.rsplit_once(") ")?.1.split(' ').nth(4)?.parse::<i64>().ok()?;
    let number = u32::try_from(number).ok().filter(|number| *number != 0)?;
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    Some(rustix::fs::makedev(major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controlling_terminal_is_read_from_the_right_field() {
        // Device 136:5, and 136:300 with its minor number in two parts.
        assert_eq!(controlling("7 (a) b) S 1 2 3 34821 9 0"), Some(rustix::fs::makedev(136, 5)));
        let far = (136 << 8) | (300 & 0xff) | ((300 & 0xfff00) << 12);
        assert_eq!(controlling(&format!("7 (x) S 1 2 3 {far} 9")), Some(rustix::fs::makedev(136, 300)));
        assert_eq!(controlling("7 (x) S 1 2 3 0 -1"), None);
        assert_eq!(controlling("7 (x"), None);
    }
}
