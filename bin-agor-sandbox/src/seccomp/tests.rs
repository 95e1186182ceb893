//! The filter, run as the kernel would.

use super::*;
use proptest::prelude::*;

/// Runs a program as the kernel would.
fn run(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let (mut at, mut acc) = (0, 0_u32);
    loop {
        let step = &program[at];
        at += 1;
        match step.code {
            LOAD => {
                acc = match step.k {
                    NUMBER => number,
                    ARCH => arch,
                    offset => args[(offset as usize - 16) / 8] as u32,
                }
            }
            AND => acc &= step.k,
            JUMP => at += step.k as usize,
            JUMP_EQUAL => at += usize::from(if acc == step.k { step.jt } else { step.jf }),
            JUMP_AT_LEAST => at += usize::from(if acc >= step.k { step.jt } else { step.jf }),
            JUMP_ANY => at += usize::from(if acc & step.k != 0 { step.jt } else { step.jf }),
            RETURN => return step.k,
            code => panic!("{code}"),
        }
    }
}

fn policy(words: &[&str]) -> Policy {
    let mut words: Vec<std::ffi::OsString> = words.iter().map(Into::into).collect();
    words.extend(["--config".into(), "/dev/null".into(), "--".into(), "x".into()]);
    let args = crate::args::Args::parse(words).unwrap();
    Policy::build(&args, &crate::host::Host::default()).unwrap()
}

fn verdict(words: &[&str], call: i64, args: [u64; 6]) -> u32 {
    run(&program(&rules(&policy(words))), AUDIT_ARCH, number(call), args)
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

#[test]
fn dangerous_calls_fail_in_every_profile() {
    for call in NEVER {
        assert_eq!(verdict(&[], call, [0; 6]), EPERM.code(), "{call}");
    }
    assert_eq!(verdict(&[], libc::SYS_ioctl, [0, 0x5412, 0, 0, 0, 0]), EPERM.code());
    assert_eq!(verdict(&[], libc::SYS_ioctl, [0, 0x541c, 0, 0, 0, 0]), EPERM.code());
    assert_eq!(verdict(&[], libc::SYS_ioctl, [0, 0x5401, 0, 0, 0, 0]), ALLOW);
    for (call, mode) in CHMOD {
        let with = |bits: u64| {
            let mut args = [0; 6];
            args[usize::from(*mode)] = bits;
            verdict(&[], *call, args)
        };
        assert_eq!((with(0o4755), with(0o2755), with(0o755)), (EPERM.code(), ALLOW, ALLOW), "{call}");
    }
    assert_eq!(verdict(&[], libc::SYS_prlimit64, [1, 0, 0, 0, 0, 0]), EPERM.code());
    assert_eq!(verdict(&[], libc::SYS_prlimit64, [0, 7, 1, 0, 0, 0]), ALLOW);
    let user = libc::CLONE_NEWUSER as u64;
    assert_eq!(verdict(&[], libc::SYS_unshare, [user, 0, 0, 0, 0, 0]), EPERM.code());
    assert_eq!(verdict(&[], libc::SYS_clone, [user | 17, 0, 0, 0, 0, 0]), EPERM.code());
    assert_eq!(verdict(&[], libc::SYS_clone, [0x1200011, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(verdict(&[], libc::SYS_clone3, [0; 6]), ENOSYS.code());
    assert_eq!(verdict(&[], libc::SYS_ptrace, [0; 6]), ALLOW);
    assert_eq!(verdict(&["--no-ptrace"], libc::SYS_ptrace, [0; 6]), EPERM.code());
}

#[test]
fn sockets_under_a_restriction() {
    let socket = |words: &[&str], family: i32, kind: i32, protocol: i32| {
        verdict(words, libc::SYS_socket, [family as u64, kind as u64, protocol as u64, 0, 0, 0])
    };
    let ports = &["--connect-tcp", "443"];
    let cloexec = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    assert_eq!(socket(ports, libc::AF_INET, cloexec, 0), ALLOW);
    assert_eq!(socket(ports, libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_TCP), ALLOW);
    assert_eq!(socket(ports, libc::AF_UNIX, libc::SOCK_DGRAM, 0), ALLOW);
    for (family, kind, protocol) in [
        (libc::AF_INET, libc::SOCK_STREAM, 262),
        (libc::AF_INET, libc::SOCK_STREAM, 256),
        (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        (libc::AF_INET, libc::SOCK_DGRAM, 0),
        (libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
        (libc::AF_NETLINK, libc::SOCK_RAW, 0),
        (libc::AF_PACKET, libc::SOCK_RAW, 0),
        (libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        (43, libc::SOCK_STREAM, 0),
    ] {
        assert_eq!(socket(ports, family, kind, protocol), EACCES.code(), "{family} {kind} {protocol}");
        assert_eq!(socket(&[], family, kind, protocol), ALLOW);
    }
    assert_eq!(socket(&["--net", "none"], libc::AF_INET, libc::SOCK_STREAM, 0), EACCES.code());
    assert_eq!(socket(&["--net", "none"], libc::AF_UNIX, libc::SOCK_STREAM, 0), ALLOW);
    assert_eq!(socket(&["--no-unix"], libc::AF_UNIX, libc::SOCK_STREAM, 0), EACCES.code());
    let pair = |words: &[&str], family: i32, kind: i32| {
        verdict(words, libc::SYS_socketpair, [family as u64, kind as u64, 0, 0, 0, 0])
    };
    assert_eq!(pair(&["--no-unix"], libc::AF_UNIX, cloexec), ALLOW);
    assert_eq!(pair(&["--no-unix"], libc::AF_UNIX, libc::SOCK_DGRAM), EACCES.code());
    assert_eq!(pair(&["--no-unix"], libc::AF_UNIX, libc::SOCK_RAW), EACCES.code());
    assert_eq!(pair(ports, libc::AF_UNIX, libc::SOCK_DGRAM), ALLOW);
    assert_eq!(pair(ports, libc::AF_TIPC, libc::SOCK_DGRAM), EACCES.code());
    assert_eq!(pair(&[], libc::AF_TIPC, libc::SOCK_DGRAM), ALLOW);
    assert_eq!(verdict(ports, libc::SYS_listen, [0; 6]), EACCES.code());
    assert_eq!(verdict(&["--bind-tcp", "1"], libc::SYS_listen, [0; 6]), ALLOW);
    assert_eq!(verdict(ports, libc::SYS_sendto, [0, 0, 0, u64::from(MSG_FASTOPEN) | 1, 0, 0]), EPERM.code());
}

#[test]
fn other_architectures_are_ended() {
    let program = program(&rules(&policy(&[])));
    assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), Verdict::Kill.code());
    #[cfg(target_arch = "x86_64")]
    assert_eq!(run(&program, AUDIT_ARCH, 0x4000_0000 | 425, [0; 6]), Verdict::Kill.code());
}

/// What a rule says, worked out without any program.
fn judge(rule: &Rule, args: [u64; 6]) -> Verdict {
    let holds = |test: &Test| match *test {
        Test::Equal { arg, mask, value } => args[usize::from(arg)] as u32 & mask == value,
        Test::Any { arg, bits } => args[usize::from(arg)] as u32 & bits != 0,
    };
    let case = rule.cases.iter().find(|(tests, _)| tests.iter().all(holds));
    case.map_or(rule.otherwise, |(_, verdict)| *verdict)
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let verdict = || prop_oneof![Just(Verdict::Allow), Just(EPERM), Just(ENOSYS), Just(Verdict::Kill)];
    let test = prop_oneof![
        (0_u8..3, prop_oneof![Just(u32::MAX), Just(3)], 0_u32..4)
            .prop_map(|(arg, mask, value)| Test::Equal { arg, mask, value }),
        (0_u8..3, 1_u32..4).prop_map(|(arg, bits)| Test::Any { arg, bits }),
    ];
    let case = (proptest::collection::vec(test, 1..4), verdict());
    (proptest::collection::vec(case, 0..4), verdict()).prop_map(|(cases, otherwise)| Rule {
        number: 0,
        cases,
        otherwise,
    })
}

proptest! {
    #[test]
    fn a_program_says_what_its_rules_say(
        rules in proptest::collection::btree_map(0_u32..40, any_rule(), 0..30),
        probe in 0_u32..40,
        args in proptest::array::uniform6(0_u64..4),
    ) {
        let rules: Vec<Rule> = rules.into_iter().map(|(number, rule)| Rule { number, ..rule }).collect();
        let rule = rules.iter().find(|rule| rule.number == probe);
        let want = rule.map_or(Verdict::Allow, |rule| judge(rule, args));
        prop_assert_eq!(run(&program(&rules), AUDIT_ARCH, probe, args), want.code());
    }

    #[test]
    fn the_search_finds_exactly_its_rules(numbers in proptest::collection::btree_set(0_u32..600, 0..200), probe in 0_u32..600) {
        let rules: Vec<Rule> = numbers
            .iter()
            .map(|number| Rule { number: *number, cases: Vec::new(), otherwise: Verdict::Errno((*number % 100) as u16 + 1) })
            .collect();
        let want = if numbers.contains(&probe) { Verdict::Errno((probe % 100) as u16 + 1).code() } else { ALLOW };
        prop_assert_eq!(run(&program(&rules), AUDIT_ARCH, probe, [0; 6]), want);
    }
}
