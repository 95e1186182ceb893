//! The whole pipeline under random faults; see `agor_tests::faults`.
//!
//! `AGOR_FAULT_SEED` replays a schedule (1 without it; any where a duration is given), `AGOR_FAULT_SECONDS`
//! sets how long faults go on (`make soak` sets it to hours), `AGOR_FAULT_VERBOSE=1` prints every event.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agor_tests::faults::{self, Options};
use agor_tests::{World, skip};

/// Set in the copy of this test that has mounts of its own.
const INNER: &str = "AGOR_FAULT_INNER";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn nothing_is_lost_under_random_faults() {
    // The short run repeats one schedule; a long one looks for what is not known yet.
    let any = || if number("AGOR_FAULT_SECONDS").is_some() { fastrand::u64(..1_000_000) } else { 1 };
    let seed = number("AGOR_FAULT_SEED").unwrap_or_else(any);
    let length = Duration::from_secs(number("AGOR_FAULT_SECONDS").unwrap_or(25));
    if is_root() && std::env::var_os(INNER).is_none() && own_mounts() {
        // Mounts of its own, which end with the process whatever happens to it.
        let status = Command::new("unshare")
            .args(["-m", "--propagation", "private"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_is_lost_under_random_faults", "--nocapture"])
            .env(INNER, "1")
            .env("AGOR_FAULT_SEED", seed.to_string())
            .status()
            .unwrap();
        assert!(status.success(), "AGOR_FAULT_SEED={seed} fails");
        return;
    }
    let world = World::new();
    let own_disk = std::env::var_os(INNER).is_some() && {
        let data = world.path("data");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=50%,mode=700", "tmpfs"])
            .arg(&data)
            .status();
        mount.is_ok_and(|status| status.success())
    };
    if !own_disk {
        skip("no file system of its own (not root, or no mounts): no full disk and no read-only directory");
    }
    if faults::pipeline::faketime().is_none() {
        skip("libfaketime is not installed, or the programs are static: no clock steps");
    }
    eprintln!("fault injection: AGOR_FAULT_SEED={seed} AGOR_FAULT_SECONDS={}", length.as_secs());
    let options = Options { seed, length, own_disk, verbose: number("AGOR_FAULT_VERBOSE") == Some(1) };
    let report = faults::run(world, Path::new(env!("CARGO_BIN_EXE_agor-fault-actor")), &options);
    eprint!("seed:    {seed}, {} s\n{report}", length.as_secs());
    assert!(report.wrong.is_empty(), "AGOR_FAULT_SEED={seed}: {:#?}", report.wrong);
}

fn own_mounts() -> bool {
    Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success())
}
