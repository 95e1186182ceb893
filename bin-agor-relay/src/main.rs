//! The `agor-relay` program; everything is in the library.
fn main() -> std::process::ExitCode {
    agor_relay::main()
}
