//! The `btmsg` program; everything is in the library.
fn main() -> std::process::ExitCode {
    btmsg::main()
}
