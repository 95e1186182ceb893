//! Cuts a byte stream into chunks for output events: whole lines, unless one line is longer than a chunk,
//! and never inside a UTF-8 character.

/// Bytes in one chunk at most.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Collects bytes and gives chunks back.
#[derive(Debug, Default)]
pub(crate) struct Chunker {
    pending: Vec<u8>,
    /// A terminal has no lines: everything goes out at once.
    unlined: bool,
}

impl Chunker {
    /// For a stream of lines, or (`unlined`) for a terminal.
    pub(crate) fn new(unlined: bool) -> Chunker {
        Chunker { pending: Vec::new(), unlined }
    }

    /// Takes `bytes` and calls `emit(chunk, partial)`; `partial` means that the chunk does not end a line.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8], bool)) {
        // The usual case first: nothing is waiting, and the bytes end a line.
        if self.pending.is_empty() && !self.unlined && bytes.len() <= CHUNK && bytes.last() == Some(&b'\n') {
            emit(bytes, false);
            return;
        }
        while !bytes.is_empty() {
            let room = (CHUNK - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            self.cut(&mut emit);
        }
    }

    fn cut(&mut self, emit: &mut impl FnMut(&[u8], bool)) {
        let end = match self.pending.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) if !self.unlined => newline + 1,
            _ if self.unlined || self.pending.len() >= CHUNK => whole_characters(&self.pending),
            _ => 0,
        };
        if end > 0 {
            emit(&self.pending[..end], self.pending[end - 1] != b'\n');
            self.pending.drain(..end);
        }
    }

    /// Whether an unfinished line waits for its end.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Gives out what waits: the stream has ended, or a prompt stands there.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(&[u8], bool)) {
        if !self.pending.is_empty() {
            emit(&self.pending, true);
        }
        self.pending = Vec::new();
    }
}

/// The length of `bytes` without an unfinished UTF-8 character at its end.
fn whole_characters(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    for at in (from..bytes.len()).rev() {
        let need = match bytes[at] {
            0x00..=0x7f => return bytes.len(),
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        return if at + need > bytes.len() && at > 0 { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(parts: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut chunker = Chunker::default();
        let mut out = Vec::new();
        for part in parts {
            chunker.feed(part, |chunk, partial| out.push((chunk.to_vec(), partial)));
        }
        chunker.finish(|chunk, partial| out.push((chunk.to_vec(), partial)));
        out
    }

    #[test]
    fn lines_stay_whole() {
        assert_eq!(run(&[b"a\nb\nc", b"d\n"]), [(b"a\nb\n".to_vec(), false), (b"cd\n".to_vec(), false)]);
        assert_eq!(run(&[b"\n", b"end"]), [(b"\n".to_vec(), false), (b"end".to_vec(), true)]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut long = "é".repeat(CHUNK);
        long.insert(0, 'x');
        long.push('\n');
        let out = run(&[long.as_bytes()]);
        assert_eq!(out.len(), 3);
        assert!(out.iter().all(|(chunk, _)| std::str::from_utf8(chunk).is_ok() && chunk.len() <= CHUNK));
        assert_eq!(out.iter().map(|(_, partial)| *partial).collect::<Vec<_>>(), [true, true, false]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn nothing_is_lost_or_reordered(parts in prop::collection::vec(prop::collection::vec(
            prop_oneof![Just(b'\n'), any::<u8>()], 0..200), 0..40)) {
            let whole: Vec<u8> = parts.concat();
            let refs: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let out = run(&refs);
            prop_assert_eq!(out.iter().flat_map(|(chunk, _)| chunk.clone()).collect::<Vec<_>>(), whole);
            for (chunk, partial) in &out {
                prop_assert_eq!(chunk.last() != Some(&b'\n'), *partial);
            }
        }
    }
}
