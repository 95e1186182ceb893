//! The command line as such.

use crate::world::{World, stderr, stdout};

#[test]
fn help_exists_for_every_command() {
    let world = World::new();
    for command in btmsg::command().get_subcommands() {
        let name = command.get_name();
        let help = world.ok(&[name, "--help"]);
        assert!(help.contains("Usage:"), "{name}: {help}");
    }
    assert_eq!(world.ok(&["--version"]), format!("btmsg {}", agor_common::VERSION));
    assert!(!world.data().exists(), "help creates nothing");
}

#[test]
fn errors_are_one_line_a_hint_and_with_json_an_object() {
    let world = World::with_peers();
    let error = world.fails(2, &["sned"]);
    assert!(error.starts_with("btmsg: ") && error.contains("'send'"), "{error}");
    let output = world.run(&["--json", "--as", "alice", "send", "nobody", "x"]);
    let object: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(object["error"]["code"], 67);
    assert!(stderr(&output).lines().all(|line| line.starts_with("btmsg: ") || line.starts_with("hint: ")));
}

#[test]
fn reading_creates_nothing() {
    let world = World::new();
    let error = world.fails(66, &["agents"]);
    assert!(error.contains("btmsg register"), "{error}");
    world.fails(66, &["--as", "a", "inbox"]);
    assert!(!world.data().exists());
}

#[test]
fn paths_are_taken_as_they_are() {
    let world = World::new();
    for name in ["sp ace", "new\nline", "q?x=1#y", "50%41", "relative/deep"] {
        let output = world.btmsg(&["register", "a"]).env("AGOR_DATA_DIR", name).output().unwrap();
        assert!(output.status.success(), "{name:?}: {}", stderr(&output));
        assert!(world.path(name).join("btmsg.db").is_file(), "{name:?}");
    }
    std::fs::create_dir(world.path("links")).unwrap();
    std::os::unix::fs::symlink(world.path("sp ace/btmsg.db"), world.path("links/btmsg.db")).unwrap();
    let output = world.btmsg(&["register", "b"]).env("AGOR_DATA_DIR", world.path("links")).output().unwrap();
    assert!(output.status.success());
    let output = world.btmsg(&["agents"]).env("AGOR_DATA_DIR", world.path("sp ace")).output().unwrap();
    assert!(stdout(&output).contains('b'));
    // A link to nothing is not filled, and said to be one.
    std::fs::create_dir(world.path("loose")).unwrap();
    std::os::unix::fs::symlink(world.path("gone/btmsg.db"), world.path("loose/btmsg.db")).unwrap();
    let output = world.btmsg(&["register", "b"]).env("AGOR_DATA_DIR", world.path("loose")).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert!(stderr(&output).contains("loose/btmsg.db: it is a symbolic link to"), "{}", stderr(&output));
    // A second name of the file has a log of its own, and its writers lose each other's mail.
    std::fs::create_dir(world.path("twin")).unwrap();
    std::fs::hard_link(world.path("sp ace/btmsg.db"), world.path("twin/btmsg.db")).unwrap();
    for dir in ["twin", "sp ace"] {
        let output = world.btmsg(&["agents"]).env("AGOR_DATA_DIR", world.path(dir)).output().unwrap();
        assert!(output.status.success());
        assert_eq!(stderr(&output).matches("has 2 names").count(), 1, "{}", stderr(&output));
    }
    // A directory where the file belongs.
    std::fs::create_dir_all(world.path("odd/btmsg.db")).unwrap();
    let output = world.btmsg(&["agents"]).env("AGOR_DATA_DIR", world.path("odd")).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    assert!(stderr(&output).contains("odd/btmsg.db"));
}

#[test]
fn the_configuration_counts_and_its_mistakes_are_named() {
    let world = World::with_peers();
    let with = |text: &str, args: &[&str]| {
        std::fs::write(world.path("agor.toml"), text).unwrap();
        world.btmsg(args).env("AGOR_CONFIG", world.path("agor.toml")).output().unwrap()
    };
    let output = with("[btmsg]\nmax_size = 4\n", &["--as", "alice", "send", "bob", "five!"]);
    assert_eq!(output.status.code(), Some(65));
    let output =
        with("[btmsg]\nmax_size = 4\n", &["--as", "alice", "send", "--max-size", "9", "bob", "five!"]);
    assert_eq!(output.status.code(), Some(0));
    let output = with("[btmsg]\nmax_sise = 4\n", &["agents"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("agor.toml:2"), "{}", stderr(&output));
    assert_eq!(
        with("[btmsg]\ndurability = \"crash\"\n", &["--as", "alice", "send", "bob", "x"]).status.code(),
        Some(0)
    );
}
