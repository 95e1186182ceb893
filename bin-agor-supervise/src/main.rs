//! The `agor-supervise` program; everything is in the library.
fn main() -> std::process::ExitCode {
    agor_supervise::main()
}
