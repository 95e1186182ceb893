//! The `agor-checkpoint` program; everything is in the library.
fn main() -> std::process::ExitCode {
    agor_checkpoint::main()
}
