//! `--explain-denials` and `learn`.

mod common;

use common::Sandbox;

#[test]
fn denials_are_explained_with_the_option_that_helps() {
    let sandbox = Sandbox::new();
    sandbox.file("out/f", "x");
    sandbox.script("out/tool", "#!/bin/sh\necho tool\n");
    let ran = sandbox.sh(
        &["--explain-denials"],
        "cat ../out/f ../out/f; echo x >../out/new; ../out/tool; cat /nowhere; cat /etc/passwd >/dev/null; exit 7",
    );
    assert_eq!(ran.code, 7, "{ran:?}");
    let out = sandbox.path("out").canonicalize().unwrap();
    let out = out.display();
    for line in [
        format!("denied: read {out}/f (2 times): --ro {out}/f"),
        format!("denied: change {out}/new: --rw {out}"),
        format!("denied: execute {out}/tool: --rox {out}/tool"),
    ] {
        assert!(ran.stderr.contains(&line), "{line}\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("nowhere: --") && !ran.stderr.contains("passwd"), "{}", ran.stderr);
    // With these options it is allowed.
    let options = ["--explain-denials", "--rw", "../out", "--rox", "../out"];
    let ran = sandbox.sh(&options, "cat ../out/f; echo x >../out/new; ../out/tool");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "xtool\n"), "{ran:?}");
    assert_eq!(sandbox.sh(&["--explain-denials"], "kill -TERM $$").code, 143);
    assert_eq!(sandbox.run(["--explain-denials", "--", "no-such-program"]).code, 127);
}

#[test]
fn a_learned_profile_lets_the_same_run_pass() {
    let sandbox = Sandbox::new();
    for number in 0..6 {
        sandbox.file(format!("out/many/{number}"), "x");
    }
    sandbox.file("out/one", "1");
    sandbox.script("out/bin-tool", "#!/bin/sh\necho tool\n");
    sandbox.file("home/.ssh/id", "secret");
    let script = "cat ../out/many/* ../out/one && echo y >../out/written && ../out/bin-tool";
    assert_ne!(sandbox.sh(&[], script).code, 0);
    let profile = sandbox.path("learned.toml");
    let profile = profile.to_str().unwrap();
    let learned =
        sandbox.run(["learn", "--output", profile, "--", "sh", "-c", &format!("{script}; cat ~/.ssh/id")]);
    assert_ne!(learned.code, 0, "the secret was refused: {learned:?}");
    assert!(
        !learned.stdout.contains("secret") && learned.stderr.contains(".ssh/id was refused"),
        "{learned:?}"
    );
    let text = std::fs::read_to_string(profile).unwrap();
    assert!(text.contains("[sandbox.profile.sh-learned]") && !text.contains("\".ssh"), "{text}");
    std::fs::remove_file(sandbox.path("out/written")).unwrap();
    let ran = sandbox.run(["--config", profile, "--profile", "sh-learned", "--", "sh", "-c", script]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "xxxxxx1tool\n"), "{ran:?}\n{text}");
    assert_ne!(
        sandbox.run(["--config", profile, "--profile", "sh-learned", "--", "cat", "../home/.ssh/id"]).code,
        0
    );
}
