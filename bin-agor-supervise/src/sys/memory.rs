//! Being small while idle.

#![expect(unsafe_code, reason = "madvise(2), malloc_trim(3)")]

use std::fs;

/// Lets go of the pages of our own program file that are in memory, and of what the allocator has to spare.
/// What is needed again comes back from the page cache. Most of the file is SQLite, of which an idle
/// supervisor needs nothing.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only gives free memory back.
    unsafe {
        libc::malloc_trim(0);
    }
    for (start, end) in clean_mappings().unwrap_or_default() {
        // SAFETY: the range is a mapping of our own executable without any page of its own (no write
        // permission, `Anonymous: 0 kB`): its pages are the file's, and come back on the next access.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
    }
}

/// Mappings of our executable that hold nothing but the file's own pages (proc_pid_smaps(5)).
fn clean_mappings() -> Option<Vec<(usize, usize)>> {
    let exe = fs::read_link("/proc/self/exe").ok()?;
    let exe = exe.to_str()?.to_owned();
    let smaps = fs::read_to_string("/proc/self/smaps").ok()?;
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        let first = line.split(' ').next()?;
        if let Some((start, end)) = first.split_once('-') {
            let readable = line.contains(" r--p ") || line.contains(" r-xp ");
            let range = usize::from_str_radix(start, 16).ok().zip(usize::from_str_radix(end, 16).ok());
            current = range.filter(|_| readable && line.ends_with(&exe));
        } else if first == "Anonymous:"
            && let Some(range) = current.take()
            && line.split_ascii_whitespace().nth(1) == Some("0")
        {
            found.push(range);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on_after_a_trim() {
        for _ in 0..3 {
            super::trim();
            assert_eq!(format!("{:?}", "still here".to_uppercase()), "\"STILL HERE\"");
        }
        let mappings = super::clean_mappings().unwrap();
        assert!(!mappings.is_empty() && mappings.iter().all(|(start, end)| start < end));
    }
}
