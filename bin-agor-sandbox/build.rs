//! Tells the linker of the static build what to put side by side; see `hot.ld`.

fn main() {
    println!("cargo:rerun-if-changed=hot.ld");
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|found| found == value);
    // Where such a program is placed at a fixed address (.cargo/config.toml).
    let fixed = is("CARGO_CFG_TARGET_ENV", "musl") && is("CARGO_CFG_TARGET_ARCH", "x86_64");
    if let Some(dir) = std::env::var_os("CARGO_MANIFEST_DIR").filter(|_| fixed) {
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}/hot.ld", dir.to_string_lossy());
        // A program of few mappings starts sooner. Nothing is relocated when it is loaded, so there is nothing
        // to make read-only afterwards.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,noseparate-code,-z,norelro");
    }
}
