//! stdin and stdout on threads of their own: files, pipes and terminals alike may block.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::state::State;
use crate::error::Error;

/// One read from stdin.
pub(super) const BLOCK: usize = 64 * 1024;

/// A regular file, told from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    dev: u64,
    ino: u64,
}

fn duplicate(fd: impl std::os::fd::AsFd, what: &'static str) -> Result<File, Error> {
    let fd: OwnedFd = rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), 3)
        .map_err(|error| Error::Io { what, source: error.into() })?;
    Ok(File::from(fd))
}

/// This process's stdin.
pub(super) fn stdin() -> Result<File, Error> {
    duplicate(io::stdin(), "open stdin")
}

/// This process's stdout.
pub(super) fn stdout() -> Result<File, Error> {
    duplicate(io::stdout(), "open stdout")
}

/// Which regular file this is, and how long; `None` for anything else.
pub(super) fn regular(file: &File) -> Option<(FileId, u64)> {
    let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((FileId { dev: meta.dev(), ino: meta.ino() }, meta.len()))
}

/// The read position of a regular file.
pub(super) fn position(mut file: &File) -> Option<u64> {
    file.stream_position().ok()
}

/// Goes to a position of a regular file.
pub(super) fn seek(mut file: &File, to: u64) -> bool {
    file.seek(io::SeekFrom::Start(to)).is_ok()
}

/// Reads `file` block by block; the channel's end is the end of the input.
pub(super) fn read(mut file: File) -> mpsc::Receiver<Vec<u8>> {
    let (tx, rx) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut block = vec![0; BLOCK];
        loop {
            match file.read(&mut block) {
                Ok(0) => return,
                Ok(n) => {
                    if tx.blocking_send(block[..n].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An input that fails has ended; what was read of it has been sent.
                Err(_) => return,
            }
        }
    });
    rx
}

/// Something to write.
pub(super) struct Piece {
    pub(super) seq: u64,
    pub(super) stderr: bool,
    pub(super) bytes: Vec<u8>,
}

/// How writing goes.
#[derive(Debug)]
pub(super) enum Wrote {
    /// Everything up to this event is out (and noted in the state file).
    UpTo(u64),
    /// The reader of stdout is gone.
    Closed,
    Failed(String),
}

/// Writes pieces in order and notes in `state` what is out. `skip` bytes of stdout are out already.
pub(super) fn write(
    mut file: File,
    mut skip: u64,
    mut state: Option<State>,
) -> (mpsc::Sender<Piece>, mpsc::UnboundedReceiver<Wrote>) {
    let (tx, mut rx) = mpsc::channel::<Piece>(16);
    let (done_tx, done_rx) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut out = io::stderr();
        while let Some(piece) = rx.blocking_recv() {
            let mut bytes = piece.bytes.as_slice();
            let wrote = if piece.stderr {
                // Nobody is left to tell where stderr is gone.
                let _ = out.write_all(bytes);
                Ok(())
            } else {
                let known = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                skip -= known as u64;
                bytes = &bytes[known..];
                file.write_all(bytes)
            };
            let report = match wrote {
                Ok(()) => match note(&mut state, piece.seq, &file) {
                    Ok(()) => Wrote::UpTo(piece.seq),
                    Err(error) => Wrote::Failed(format!("state file: {error}")),
                },
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Wrote::Closed,
                Err(error) => Wrote::Failed(format!("stdout: {error}")),
            };
            if done_tx.send(report).is_err() {
                return;
            }
        }
    });
    (tx, done_rx)
}

fn note(state: &mut Option<State>, seq: u64, stdout: &File) -> io::Result<()> {
    let Some(state) = state else { return Ok(()) };
    state.noted.seq = seq;
    state.noted.stdout = regular(stdout);
    state.save()
}
