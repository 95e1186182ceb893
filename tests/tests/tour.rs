//! `docs/tour.md` is what happens.

use agor_tests::{World, bin_dir, executable, stderr, stdout, top};

#[test]
fn the_recorded_tour_is_what_happens() {
    let world = World::new();
    let output = world
        .command("timeout")
        .args(["--foreground", "400"])
        .arg(top().join("docs/record-tour"))
        .arg("--check")
        .env("AGOR_BIN", bin_dir())
        .output()
        .expect("the recorder starts");
    assert_eq!(output.status.code(), Some(0), "{}\n{}", stdout(&output), stderr(&output));
}

#[test]
fn a_tour_that_is_not_true_is_noticed() {
    let world = World::new();
    // A checkout with another tour.
    let checkout = world.path("checkout");
    std::fs::create_dir_all(checkout.join("docs")).expect("a directory");
    executable::copy(top().join("docs/record-tour"), checkout.join("docs/record-tour"));
    let tour = std::fs::read_to_string(top().join("docs/tour.md")).expect("the tour");
    std::fs::write(checkout.join("docs/tour.md"), tour.replace("Permission denied", "here you are"))
        .expect("a copy");
    let output = world
        .command("timeout")
        .args(["--foreground", "400"])
        .arg(checkout.join("docs/record-tour"))
        .arg("--check")
        .env("AGOR_BIN", bin_dir())
        .output()
        .expect("the recorder starts");
    assert_eq!(output.status.code(), Some(1), "{}\n{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("here you are"), "{}", stdout(&output));
}
