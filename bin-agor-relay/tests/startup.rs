//! What is refused at start, and how it is said: nothing is served that would fail later.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{Place, RELAY, Server, TOKEN, refused, run, stderr};

const PAIR: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
const CAT: [&str; 2] = ["--", "cat"];

fn serve(place: &Place, options: &[&str]) -> (i32, String) {
    refused(place.relay().args(["--port", "0"]).args(options).args(CAT))
}

#[test]
fn without_tls_it_names_both_remedies_and_opens_nothing() {
    let place = Place::new();
    let (code, text) = serve(&place, &["--token-file", "token", "--port-file", "port"]);
    assert_eq!(code, 78);
    assert!(text.contains("--tls-cert") && text.contains("--insecure"), "{text}");
    assert!(!place.path("port").exists());
    for (options, word) in [
        (&["--insecure", "--tls-cert", "cert.pem", "--tls-key", "key.pem"][..], "exclude"),
        (&["--tls-cert", "cert.pem"], "--tls-key"),
        (&["--tls-key", "key.pem"], "--tls-cert"),
        (&["--insecure", "--client-ca", "cert.pem"], "TLS"),
        (&["--insecure", "--tls-min", "1.2"], "TLS"),
    ] {
        let (code, text) = serve(&place, &[options, &["--token-file", "token"]].concat());
        assert!(code == 2 && text.contains(word), "{code} {text}");
    }
}

#[test]
fn a_variable_gives_way_to_a_flag_and_an_empty_one_is_none() {
    let server = Server::start_with(Place::new(), false, &[], &["cat"], |command| {
        command.env("AGOR_RELAY_TOKEN_FILE", "absent").env("AGOR_RELAY_PORT", "nonsense");
        command.env("AGOR_RELAY_LISTEN", "").env("AGOR_RELAY_TLS_CERT", "").env("AGOR_RELAY_TLS_KEY", "");
    });
    server.client();
    let place = Place::new();
    // A subcommand does not ask for it.
    let out = run(place.relay().args(["token", "hash", "token"]).env("AGOR_RELAY_PORT", "nonsense"), b"");
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let mut command = place.relay();
    command.args(["--insecure", "--token-file", "token"]).args(CAT).env("AGOR_RELAY_PORT", "70000");
    let (code, text) = refused(&mut command);
    assert!(code == 2 && text.contains("AGOR_RELAY_PORT 70000"), "{code} {text}");
    let mut command = place.relay();
    command.args(["connect", "ws://localhost:1", "--insecure"]).env("AGOR_RELAY_TOKEN_FILE", "absent");
    assert_eq!(refused(&mut command).0, 66);
    assert_eq!(refused(command.args(["--token", TOKEN])).0, 69);
}

#[test]
fn no_credentials_directory_is_not_the_working_directory() {
    let place = Place::new();
    let mut command = place.relay();
    command.args(["--insecure", "--port", "0"]).args(CAT).env("CREDENTIALS_DIRECTORY", "");
    // There is a file called token here.
    let (code, text) = refused(&mut command);
    assert!(code == 78 && text.contains("no token"), "{code} {text}");
}

#[test]
fn a_pair_is_made_whole_or_not_at_all() {
    let place = Place::new();
    let key = std::fs::read(place.path("key.pem")).unwrap();
    std::fs::create_dir(place.path("dir")).unwrap();
    for (cert, want) in [("dir", 74), ("./key.pem", 2)] {
        let mut command = place.relay();
        let (code, text) =
            refused(command.args(["cert", "new", "--force", "--key", "key.pem", "--cert", cert]));
        assert_eq!(code, want, "{text}");
        assert_eq!(std::fs::read(place.path("key.pem")).unwrap(), key, "{cert}");
    }
}

#[test]
fn insecure_beyond_loopback_warns_loudly() {
    let server = Server::plain(&["--listen", "0.0.0.0"], &["cat"]);
    assert!(server.log().contains("beyond loopback"), "{}", server.log());
    let server = Server::plain(&[], &["cat"]);
    assert!(!server.log().contains("warning"), "{}", server.log());
}

#[test]
fn usage_errors_are_two_and_help_is_zero() {
    let place = Place::new();
    assert_eq!(refused(place.relay().arg("--nonsense")).0, 2);
    assert_eq!(refused(place.relay().args(["connect"])).0, 2);
    for words in [&["--help"][..], &["--version"], &["connect", "--help"], &["token", "new", "--help"]] {
        assert!(run(place.relay().args(words), b"").status.success(), "{words:?}");
    }
    for ping in ["0", "1ms", "2h"] {
        let (code, text) = refused(place.relay().args(["connect", "wss://h", "--ping", ping]));
        assert!(code == 2 && text.contains("--ping") && text.contains("must be at"), "{code} {text}");
    }
    let (code, text) = refused(place.relay().args(["--token-file", "token"]).args(PAIR));
    assert!(code == 2 && text.contains("no session"), "{text}");
}

#[test]
fn what_the_file_says_is_refused_in_its_own_words() {
    let place = Place::new();
    for (text, word) in [
        ("listen = 'here'", "relay.listen = \"here\""),
        ("allow_origin = ['https://ui.example/']", "https://ui.example/"),
        ("allow_origin = ['']", "no browser sends"),
    ] {
        place.write("agor.toml", &format!("[relay]\n{text}\n"));
        let (code, said) = serve(&place, &["--insecure", "--token-file", "token"]);
        assert!(code == 78 && said.contains(word), "{text}: {code} {said}");
    }
}

#[test]
fn certificates_and_keys_are_checked_at_start() {
    let place = Place::new();
    place.write("empty", "");
    place.write("text", "this is no PEM");
    let other = Place::new();
    std::fs::copy(other.path("key.pem"), place.path("other.pem")).unwrap();
    let key = std::fs::read_to_string(place.path("key.pem")).unwrap();
    let mut messages = Vec::new();
    for (cert, key_file, want, word) in [
        ("missing.pem", "key.pem", 66, "missing.pem"),
        ("empty", "key.pem", 78, "empty"),
        ("text", "key.pem", 78, "no PEM certificate"),
        ("key.pem", "cert.pem", 78, "swapped"),
        ("cert.pem", "missing.pem", 66, "missing.pem"),
        ("cert.pem", "empty", 78, "is empty"),
        ("cert.pem", "text", 78, "no PEM private key"),
        ("cert.pem", "cert.pem", 78, "not a key"),
        ("cert.pem", "other.pem", 78, "does not belong"),
    ] {
        let (code, text) =
            serve(&place, &["--token-file", "token", "--tls-cert", cert, "--tls-key", key_file]);
        assert!(code == want && text.contains(word), "{cert} {key_file}: {code} {text}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!text.contains(secret), "{text}");
        messages.push(text.lines().next().unwrap().to_owned());
    }
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 9);
}

#[test]
fn expired_and_future_certificates_are_refused_and_a_short_one_warns() {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    let place = Place::new();
    let key = KeyPair::generate().unwrap();
    place.write("key.pem", &key.serialize_pem());
    for (from, to, word) in
        [((2000, 1, 1), (2001, 1, 1), "expired"), ((2200, 1, 1), (2201, 1, 1), "not valid before")]
    {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        place.write("cert.pem", &params.self_signed(&key).unwrap().pem());
        let (code, text) = serve(&place, &[&PAIR[..], &["--token-file", "token"]].concat());
        assert!(code == 78 && text.contains(word), "{text}");
    }
    run(place.relay().args(["cert", "new", "--days", "5", "--force"]), b"");
    let server = Server::start(place, true, &[], &["cat"]);
    assert!(server.log().contains("ends in"), "{}", server.log());
}

#[test]
fn every_usual_kind_of_key_loads() {
    let openssl = |place: &Place, words: &[&str]| {
        std::process::Command::new("openssl")
            .args(words)
            .current_dir(place.dir.path())
            .output()
            .is_ok_and(|out| out.status.success())
    };
    let probe = Place::new();
    if !openssl(&probe, &["version"]) {
        return common::skip("openssl is not installed: kinds of keys are not tried");
    }
    let kinds: [&[&str]; 6] = [
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"],
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "key.pem"],
        &["genpkey", "-algorithm", "ed25519", "-out", "key.pem"],
        &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key.pem"],
        &["genrsa", "-traditional", "-out", "key.pem", "2048"],
        &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"],
    ];
    for words in kinds {
        let mut place = Place::new();
        assert!(openssl(&place, words), "{words:?}");
        assert!(openssl(
            &place,
            &["req", "-x509", "-key", "key.pem", "-subj", "/CN=localhost", "-days", "90", "-out", "cert.pem"]
        ));
        std::fs::set_permissions(place.path("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let out = run(place.relay().args(["pin", "cert.pem"]), b"");
        place.pin = String::from_utf8(out.stdout).unwrap().trim().to_owned();
        let server = Server::start(place, true, &[], &["cat"]);
        let out = run(&mut server.connect(&["--replies", "1", "--linger", "60s"]), b"hello\n");
        assert_eq!(out.stdout, b"hello\n", "{words:?}: {}", stderr(&out));
    }
}

#[test]
fn readable_secrets_are_warned_about() {
    let place = Place::new();
    for name in ["token", "key.pem"] {
        std::fs::set_permissions(place.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let server = Server::start(place, true, &[], &["cat"]);
    let log = server.log();
    assert!(log.contains("token file") && log.contains("private key") && log.contains("0644"), "{log}");
}

#[test]
fn blank_and_short_tokens_are_refused() {
    let place = Place::new();
    for text in ["", "\n", "   \r\n", "short\n", "fifteen-bytes-x"] {
        place.write("token", text);
        let (code, message) = serve(&place, &[&PAIR[..], &["--token-file", "token"]].concat());
        assert!(code == 78 && message.contains("token"), "{text:?}: {code} {message}");
    }
    let (code, _) = serve(&place, &[&PAIR[..], &["--token-file", "absent"]].concat());
    assert_eq!(code, 66);
    let (code, text) = serve(&place, &PAIR);
    assert!(code == 78 && text.contains("no token"), "{text}");
}

#[test]
fn the_token_comes_from_file_environment_credentials_descriptor_or_flag() {
    let crlf = Place::new();
    crlf.write("token", &format!("{TOKEN}\r\n"));
    Server::start(crlf, false, &[], &["cat"]).client();
    let without_file = |change: &dyn Fn(&Place, &mut std::process::Command)| {
        let place = Place::new();
        let mut command = place.relay();
        command.args(["--port", "0", "--port-file", "port", "--insecure"]);
        change(&place, &mut command);
        let mut child = command.args(CAT).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let port: u16 = common::first_line(&place.path("port")).parse().unwrap();
        let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        drop(common::Client::open(port, TOKEN).unwrap());
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
        assert_eq!(common::wait(&mut child), Some(0));
        assert!(!text.contains(TOKEN), "{text}");
        (String::from_utf8_lossy(&line).contains(TOKEN), text)
    };
    assert!(
        !without_file(&|_, command| {
            command.env("AGOR_RELAY_TOKEN", TOKEN);
        })
        .0
    );
    assert!(
        !without_file(&|place, command| {
            command.env("CREDENTIALS_DIRECTORY", place.dir.path());
        })
        .0
    );
    let stdin = |place: &Place, command: &mut std::process::Command| {
        command.args(["--token-file", "-"]).stdin(std::fs::File::open(place.path("token")).unwrap());
    };
    assert!(!without_file(&stdin).0);
    let fd = |place: &Place, command: &mut std::process::Command| {
        command.args(["--token-fd", "0"]).stdin(std::fs::File::open(place.path("token")).unwrap());
    };
    assert!(!without_file(&fd).0);
    let (_, text) = without_file(&|_, command| {
        command.args(["--token", TOKEN]);
    });
    assert!(text.contains("warning: --token shows in ps"), "{text}");
}

#[test]
fn a_port_in_use_is_said_and_the_first_server_is_unharmed() {
    let server = Server::plain(&[], &["cat"]);
    let port = server.port.to_string();
    let (code, text) = refused(
        server.place.relay().args(["--port", &port, "--insecure", "--token-file", "token"]).args(CAT),
    );
    assert!(code == 69 && text.contains(&port), "{code} {text}");
    server.client();
}

/// A relay that finds `socket` at descriptor 3, as if from the service manager. A shell stands for that: its pid is
/// kept by exec.
fn activated(place: &Place, socket: impl Into<std::os::fd::OwnedFd>, fds: &str) -> std::process::Command {
    let mut command = common::clean("sh");
    command
        .args(["-c", "exec 3<&0; LISTEN_PID=$$ exec \"$@\" </dev/null", "sh", RELAY])
        .args(["--port", "0", "--port-file", "port", "--token-file", "token", "--insecure"])
        .args(CAT)
        .current_dir(place.dir.path())
        .env("AGOR_CONFIG", place.path("agor.toml"))
        .env("LISTEN_FDS", fds)
        .stdin(socket.into());
    command
}

#[test]
fn a_socket_of_the_service_manager_that_cannot_be_served_is_refused() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
    let socket = |family| socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let place = Place::new();
    let unix = socket(AddressFamily::UNIX);
    bind(&unix, &SocketAddrUnix::new(place.path("socket")).unwrap()).unwrap();
    listen(&unix, 1).unwrap();
    let tcp = socket(AddressFamily::INET);
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (what, socket, fds, descriptor) in [
        ("a unix socket", unix, "1", "descriptor 3"),
        ("one that does not listen", tcp, "1", "descriptor 3"),
        ("a file", std::fs::File::open(place.path("token")).unwrap().into(), "1", "descriptor 3"),
        ("one of two", listening.into(), "2", "descriptor 4"),
    ] {
        let mut child = activated(&place, socket, fds).stderr(std::process::Stdio::piped()).spawn().unwrap();
        common::eventually(what, || {
            assert!(!place.path("port").exists(), "{what}: it listens somewhere");
            child.try_wait().unwrap().is_some()
        });
        let out = child.wait_with_output().unwrap();
        let text = stderr(&out);
        assert!(out.status.code() == Some(78) && text.contains(descriptor), "{what}: {text}");
    }
}

#[test]
fn where_it_listens_is_what_it_says() {
    let place = Place::new();
    let Ok(socket) = std::net::TcpListener::bind("[::1]:0") else {
        return common::skip("this host has no IPv6");
    };
    let address = socket.local_addr().unwrap();
    let log = std::fs::File::create(place.path("log")).unwrap();
    let mut child = activated(&place, socket, "1").stderr(log).spawn().unwrap();
    common::first_line(&place.path("port"));
    common::eventually("it says so", || {
        std::fs::read_to_string(place.path("log")).unwrap().contains("listening")
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(common::wait(&mut child), Some(0));
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(log.contains(&format!("ws://{address}")), "{log}");
}

#[test]
fn a_port_file_that_is_a_pipe_is_written_to_and_not_replaced() {
    let place = Place::new();
    std::os::unix::fs::symlink("/proc/self/fd/1", place.path("out")).unwrap();
    let mut command = place.relay();
    command.args(["--port", "0", "--port-file", "out", "--token-file", "token", "--insecure"]).args(CAT);
    command.stderr(std::fs::File::create(place.path("log")).unwrap());
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    common::eventually("it listens", || {
        std::fs::read_to_string(place.path("log")).unwrap().contains("listening")
    });
    let untouched = std::fs::symlink_metadata(place.path("out")).unwrap().is_symlink();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(common::wait(&mut child), Some(0));
    assert!(untouched);
    let port = std::io::read_to_string(child.stdout.unwrap()).unwrap();
    assert!(port.trim().parse::<u16>().is_ok(), "{port:?}");
}

#[test]
fn a_full_disk_leaves_nothing_half_made() {
    let place = Place::new();
    let script = "mkdir full && mount -t tmpfs -o size=64k tmpfs full && { cat /dev/zero >full/fill 2>/dev/null; \
        for make in 'token new --out full/t' 'cert new --cert full/c --key full/k'; do \
        \"$0\" $make; echo $?; done; ls full; }";
    let mut command = std::process::Command::new("unshare");
    let out = command.args(["-m", "sh", "-c", script, RELAY]).current_dir(place.dir.path()).output().unwrap();
    if !out.status.success() {
        return common::skip("a file system of its own needs root");
    }
    assert_eq!(String::from_utf8_lossy(&out.stdout), "74\n74\nfill\n", "{}", stderr(&out));
}

#[test]
fn configuration_errors_name_their_line() {
    let place = Place::new();
    for (toml, word) in [
        ("[relay]\nprot = 1\n", "agor.toml:2"),
        ("[relay.session.x]\n", "command"),
        ("[relay.session.x]\ncommand = []\n", "command is empty"),
        ("[relay.session.\"a/b\"]\ncommand = ['x']\n", "session name"),
        ("[relay.token.x]\nhash = 'abc'\nscope = 'observe'\n", "hash"),
        ("[relay.token.x]\nhash = 'sha256:00'\nscope = 'root'\n", "agor.toml:3"),
        ("[relay]\nring = 'much'\n", "relay.ring"),
        ("[relay]\nmax_connections = 0\n", "relay.max_connections"),
        ("[relay.session.default]\ncommand = ['x']\n", "both"),
    ] {
        place.write("agor.toml", toml);
        let (code, text) = serve(&place, &[&PAIR[..], &["--token-file", "token"]].concat());
        assert!((code == 78 || code == 2) && text.contains(word), "{toml}: {code} {text}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_said_at_start() {
    let place = Place::new();
    let (code, text) = refused(
        place
            .relay()
            .args(["--port", "0", "--token-file", "token"])
            .args(PAIR)
            .args(["--", "/nonexistent/agent"]),
    );
    assert!(code == 78 && text.contains("/nonexistent/agent"), "{code} {text}");
}

#[test]
fn helpers_make_and_show_what_they_say() {
    let place = Place::new();
    let out = |words: &[&str]| {
        let out = run(place.relay().args(words), b"");
        assert!(out.status.success(), "{words:?}: {}", stderr(&out));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let token = out(&["token", "new"]);
    assert!(token.starts_with("agor_") && token.len() >= 48);
    assert_ne!(token, out(&["token", "new"]));
    let hash = out(&["token", "new", "--out", "t"]);
    assert_eq!(out(&["token", "hash", "t"]), hash);
    assert_eq!(std::fs::metadata(place.path("t")).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, text) = refused(place.relay().args(["token", "new", "--out", "t"]));
    assert!(code == 73 && text.contains("hint: "), "{code} {text}");
    let (code, text) = refused(place.relay().args(["pin", "/dev/zero"]));
    assert!(code == 78 && text.contains("larger than"), "{code} {text}");
    let named = ["cert", "new", "--cert", "c", "--key", "k", "--name"];
    for name in ["a b", "-", "a..b", "", "[::1]", "https://h"] {
        assert_eq!(refused(place.relay().args(named).arg(name)).0, 2, "{name:?}");
    }
    for name in ["*.example.com", "2001:db8::1", "localhost"] {
        out(&[&named[..], &[name, "--force"]].concat());
    }
    assert_eq!(out(&["pin", "cert.pem"]), place.pin);
    assert_eq!(std::fs::metadata(place.path("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, text) = refused(place.relay().args(["cert", "new"]));
    assert!(code == 73 && text.contains("hint: --force"), "{code} {text}");
    let (code, text) = refused(place.relay().args(["token", "new", "--out", "/no/such/t"]));
    assert!(code == 73 && text.starts_with("agor-relay: write /no/such/t: "), "{code} {text}");
    assert!(!text.contains(".tmp"), "{text}");
    assert_eq!(out(&["cert", "new", "--force", "--keep-key"]), place.pin);
    assert_ne!(out(&["cert", "new", "--force"]), place.pin);
    let json: serde_json::Value = serde_json::from_str(&out(&["pin", "cert.pem", "--json"])).unwrap();
    assert_eq!(json["schema"], 1);
    let json: serde_json::Value = serde_json::from_str(&out(&["token", "new", "--json"])).unwrap();
    assert!(json["hash"].as_str().unwrap().starts_with("sha256:"));
    assert!(std::path::Path::new(RELAY).is_file());
}

#[test]
fn a_flag_out_of_its_range_is_a_usage_error() {
    let (code, text) = refused(Place::new().relay().args(["--insecure", "--max-pending", "0", "--", "cat"]));
    assert!(code == 2 && text.contains("--max-pending is 0, not within 1 and 100000"), "{code} {text}");
}
