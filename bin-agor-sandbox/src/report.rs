//! Where the truth goes: warnings on stderr, the status as JSON, failure under `--require`.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use agor_common::output;

use crate::TOOL;
use crate::args::{Args, Opt};
use crate::error::Error;
use crate::status::{State, Status};

/// Where the status goes; opened before anything is restricted.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    targets: Vec<(String, File)>,
}

impl Sink {
    /// From `--status-fd` and `--status-file`. The descriptor is closed before COMMAND runs unless it is kept.
    pub(crate) fn open(args: &Args) -> Result<Sink, Error> {
        let mut targets = Vec::new();
        if let Some(value) = args.last(Opt::StatusFd) {
            let to = format!("descriptor {}", value.to_string_lossy());
            let refused = |source| Error::Status { to: to.clone(), source };
            let number: i32 =
                value.to_str().and_then(|text| text.parse().ok()).filter(|fd| *fd > 0).ok_or_else(|| {
                    Error::Usage {
                        option: "--status-fd",
                        value: value.to_string_lossy().into_owned(),
                        why: "not the number of a descriptor that can be written".into(),
                    }
                })?;
            // A copy: the given one is not ours to close when it is one that COMMAND keeps.
            let file = crate::sys::inherit::duplicate(number).map_err(refused)?;
            targets.push((to, File::from(file)));
        }
        if let Some(path) = args.last(Opt::StatusFile) {
            let to = path.to_string_lossy().into_owned();
            let file =
                File::create(Path::new(path)).map_err(|source| Error::Status { to: to.clone(), source })?;
            targets.push((to, file));
        }
        Ok(Sink { targets })
    }

    /// Writes one line of JSON everywhere.
    pub(crate) fn write(self, status: &Status) -> Result<(), Error> {
        if self.targets.is_empty() {
            return Ok(());
        }
        let mut line = serde_json::to_vec(status)
            .map_err(|error| Error::Status { to: "memory".into(), source: io::Error::from(error) })?;
        line.push(b'\n');
        for (to, mut file) in self.targets {
            file.write_all(&line).map_err(|source| Error::Status { to, source })?;
        }
        Ok(())
    }
}

/// One warning for each layer that does not hold; with `require` the first of them is the end.
pub(crate) fn warn(status: &Status, require: bool) -> Result<(), Error> {
    for layer in status.weak() {
        let why = layer.why.clone().unwrap_or_default();
        if require {
            return Err(Error::Required { layer: layer.name, why });
        }
        let word = if layer.state == State::Absent { "not enforced" } else { "enforced in part" };
        output::warning(TOOL, &format!("{}: {word}: {why}", layer.name));
    }
    Ok(())
}
