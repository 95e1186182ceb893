//! The `agor-sandbox` program; everything is in the library.
fn main() -> std::process::ExitCode {
    agor_sandbox::main()
}
