//! The seccomp filter: what Landlock leaves open.
//!
//! Only numbers and register values can be judged here, never what a pointer points to. The filter is a
//! search by system call number, short where most numbers are: the kernel runs it once for every number when
//! it is installed, and then only for the calls that are not always allowed.

use seccompiler::sock_filter;

use crate::policy::Policy;
use crate::profile::{NetMode, UnixMode};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Allow,
    /// It fails with this errno.
    Errno(u16),
    /// The whole process ends with SIGSYS.
    Kill,
    /// The supervising parent is told.
    Notify,
}

impl Verdict {
    fn code(self) -> u32 {
        match self {
            Verdict::Allow => libc::SECCOMP_RET_ALLOW,
            Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
            Verdict::Notify => libc::SECCOMP_RET_USER_NOTIF,
        }
    }
}

/// A test of the lower 32 bits of an argument (0 to 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// `(arg & mask) == value`
    Equal {
        /// Which argument.
        arg: u8,
        /// Which bits.
        mask: u32,
        /// What they are compared with.
        value: u32,
    },
    /// `(arg & bits) != 0`
    Any {
        /// Which argument.
        arg: u8,
        /// Which bits.
        bits: u32,
    },
}

/// For one system call: the first case whose tests all hold decides, else the last verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The system call's number.
    pub number: u32,
    /// Cases in order.
    pub cases: Vec<(Vec<Test>, Verdict)>,
    /// What happens otherwise.
    pub otherwise: Verdict,
}

const fn errno(number: i32) -> Verdict {
    Verdict::Errno(number as u16)
}

const EPERM: Verdict = errno(libc::EPERM);
const EACCES: Verdict = errno(libc::EACCES);
const ENOSYS: Verdict = errno(libc::ENOSYS);

/// `kexec_file_load`, which the libc crate does not list for musl on aarch64 and riscv64; theirs is the generic number.
const KEXEC_FILE_LOAD: i64 = if cfg!(target_arch = "x86_64") { 320 } else { 294 };

/// Refused in every profile: kernel surfaces that no agent needs and that reach around the other layers.
const NEVER: [i64; 24] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
];

/// Newer than the libc crate's list.
const OPEN_TREE_ATTR: u32 = 467;
const FCHMODAT2: i64 = 452;

/// Calls that set a file's mode, and which argument that is.
const CHMOD: &[(i64, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (FCHMODAT2, 2),
];

const PTRACE: [i64; 4] =
    [libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd];

const MSG_FASTOPEN: u32 = libc::MSG_FASTOPEN as u32;

/// Every flag that makes a new namespace.
const CLONE_NEW: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u32;

fn number(call: i64) -> u32 {
    u32::try_from(call).expect("system call numbers are small")
}

fn always(call: i64, verdict: Verdict) -> Rule {
    Rule { number: number(call), cases: Vec::new(), otherwise: verdict }
}

fn equal(arg: u8, value: i32) -> Test {
    Test::Equal { arg, mask: u32::MAX, value: value as u32 }
}

fn any_bit(call: i64, arg: u8, bits: u32, verdict: Verdict) -> Rule {
    let cases = vec![(vec![Test::Any { arg, bits }], verdict)];
    Rule { number: number(call), cases, otherwise: Verdict::Allow }
}

/// The rules of a policy, sorted by number.
pub fn rules(policy: &Policy) -> Vec<Rule> {
    let mut rules = rules_without_network(policy);
    rules.extend(socket(policy));
    rules.extend(socketpair(policy));
    if policy.net.mode == NetMode::Ports {
        // Connects without connect(2), which is where Landlock looks.
        for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
            rules.push(any_bit(call, flags, MSG_FASTOPEN, EPERM));
        }
        if policy.net.bind.is_empty() {
            // listen(2) on a socket that was never bound takes a port by itself.
            rules.push(always(libc::SYS_listen, EACCES));
        }
    }
    rules.sort_unstable_by_key(|rule| rule.number);
    rules
}

/// The rules that hold whatever the network policy is.
pub(crate) fn rules_without_network(policy: &Policy) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::with_capacity(48);
    rules.extend(NEVER.into_iter().map(|call| always(call, EPERM)));
    rules.push(Rule { number: OPEN_TREE_ATTR, cases: Vec::new(), otherwise: EPERM });
    rules.push(Rule {
        number: number(libc::SYS_ioctl),
        cases: vec![
            (vec![equal(1, libc::TIOCSTI as i32)], EPERM),
            (vec![equal(1, libc::TIOCLINUX as i32)], EPERM),
        ],
        otherwise: Verdict::Allow,
    });
    // Another process's limits: zero seconds of CPU time kill as well as a signal does. Programs that set their
    // own name no process (0).
    rules.push(Rule {
        number: number(libc::SYS_prlimit64),
        cases: vec![(vec![equal(0, 0)], Verdict::Allow)],
        otherwise: EPERM,
    });
    // A set-user-ID program of root's would outlive the sandbox.
    rules.extend(CHMOD.iter().map(|(call, mode)| any_bit(*call, *mode, libc::S_ISUID, EPERM)));
    // A new user namespace brings all capabilities with it.
    rules.push(any_bit(libc::SYS_unshare, 0, CLONE_NEW, EPERM));
    rules.push(any_bit(libc::SYS_clone, 0, CLONE_NEW, EPERM));
    // Its flags are behind a pointer; libraries fall back to clone.
    rules.push(always(libc::SYS_clone3, ENOSYS));
    if policy.no_ptrace {
        rules.extend(PTRACE.into_iter().map(|call| always(call, EPERM)));
    }
    rules.sort_unstable_by_key(|rule| rule.number);
    rules
}

/// `socket(2)` under a restriction: Unix sockets, and TCP where there are ports.
fn socket(policy: &Policy) -> Option<Rule> {
    let unix_refused = policy.unix.mode == UnixMode::None;
    let mut cases = Vec::new();
    let otherwise = if policy.net.mode == NetMode::All {
        if !unix_refused {
            return None;
        }
        cases.push((vec![equal(0, libc::AF_UNIX)], EACCES));
        Verdict::Allow
    } else {
        if !unix_refused {
            cases.push((vec![equal(0, libc::AF_UNIX)], Verdict::Allow));
        }
        if policy.net.mode == NetMode::Ports {
            let stream = Test::Equal { arg: 1, mask: 0xf, value: libc::SOCK_STREAM as u32 };
            for family in [libc::AF_INET, libc::AF_INET6] {
                for protocol in [0, libc::IPPROTO_TCP] {
                    cases.push((vec![equal(0, family), stream, equal(2, protocol)], Verdict::Allow));
                }
            }
        }
        EACCES
    };
    Some(Rule { number: number(libc::SYS_socket), cases, otherwise })
}

/// `socketpair(2)` under a restriction: other families than Unix have pairs too, and a datagram socket of a pair can
/// still be given, or send to, any name.
fn socketpair(policy: &Policy) -> Option<Rule> {
    let unix = equal(0, libc::AF_UNIX);
    let mut cases = Vec::new();
    if policy.unix.mode == UnixMode::None {
        for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
            cases.push((vec![unix, Test::Equal { arg: 1, mask: 0xf, value: kind as u32 }], Verdict::Allow));
        }
    } else if policy.net.mode != NetMode::All {
        cases.push((vec![unix], Verdict::Allow));
    } else {
        return None;
    }
    Some(Rule { number: number(libc::SYS_socketpair), cases, otherwise: EACCES })
}

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const AUDIT_ARCH: u32 = 0xc000_00f3;

// Classic BPF (linux/bpf_common.h): load a word at an absolute offset, and, jump, return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY: u16 = 0x45;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

// struct seccomp_data
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

fn argument(arg: u8) -> u32 {
    // The lower half, little endian.
    16 + 8 * u32::from(arg)
}

/// Lays the program out from its end, so that every jump knows where it leads: classic BPF jumps forwards
/// only, and by 255 instructions at most.
///
/// A short program counts: the kernel compiles it when it is installed.
#[derive(Default)]
struct Assembler<'a> {
    /// Backwards.
    code: Vec<sock_filter>,
    /// Where each verdict was last returned.
    returns: Vec<(u32, Label)>,
    /// Where rules with cases begin: several calls have the same.
    rules: Vec<(&'a Rule, Label)>,
}

/// An instruction, counted from the end of the program.
type Label = usize;

impl<'a> Assembler<'a> {
    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Label {
        self.code.push(sock_filter { code, jt, jf, k });
        self.code.len() - 1
    }

    fn statement(&mut self, code: u16, k: u32) -> Label {
        self.push(code, k, 0, 0)
    }

    /// How far the next instruction is from `to`; brought near where that is too far.
    fn near(&mut self, to: Label) -> Label {
        // Room for the other branch, which may have to be brought near too.
        if self.code.len() - to < 250 {
            return to;
        }
        let distance = self.code.len() - to - 1;
        self.statement(JUMP, u32::try_from(distance).expect("a program has at most 4096 instructions"))
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let (yes, no) = (self.near(yes), self.near(no));
        let offset = |to: Label| u8::try_from(self.code.len() - to - 1).expect("it was brought near");
        let (jt, jf) = (offset(yes), offset(no));
        self.push(code, k, jt, jf)
    }

    /// An instruction that returns this; one serves all that are near.
    fn verdict(&mut self, verdict: Verdict) -> Label {
        let code = verdict.code();
        if let Some((_, at)) = self.returns.iter().find(|(known, _)| *known == code)
            && self.code.len() - at < 200
        {
            return *at;
        }
        let at = self.statement(RETURN, code);
        self.returns.retain(|(known, _)| *known != code);
        self.returns.push((code, at));
        at
    }

    fn rule(&mut self, rule: &'a Rule) -> Label {
        let alike = |known: &Rule| known.cases == rule.cases && known.otherwise == rule.otherwise;
        if let Some((_, at)) = self.rules.iter().find(|(known, _)| alike(known))
            && self.code.len() - at < 200
        {
            return *at;
        }
        let mut next = self.verdict(rule.otherwise);
        // The argument that is loaded at `next`, for which one that comes from another test need not load it again.
        let mut ready: Option<(u8, Label)> = None;
        for (tests, verdict) in rule.cases.iter().rev() {
            let mut held = self.verdict(*verdict);
            for test in tests.iter().rev() {
                let (arg, mask) = match *test {
                    Test::Equal { arg, mask, value } => {
                        let no =
                            ready.filter(|(of, _)| *of == arg && mask == u32::MAX).map_or(next, |(_, at)| at);
                        held = self.branch(JUMP_EQUAL, value, held, no);
                        (arg, mask)
                    }
                    Test::Any { arg, bits } => {
                        held = self.branch(JUMP_ANY, bits, held, next);
                        (arg, u32::MAX)
                    }
                };
                ready = (tests.len() == 1 && mask == u32::MAX).then_some((arg, held));
                if mask != u32::MAX {
                    self.statement(AND, mask);
                }
                held = self.statement(LOAD, argument(arg));
            }
            next = held;
        }
        self.rules.push((rule, next));
        next
    }

    /// A search by number, which ends soonest for what most numbers are in: installing a filter costs a run
    /// of it for every number that the kernel has.
    fn search(&mut self, ranges: &[Range<'a>]) -> Label {
        match ranges {
            [Range { rule: Some(rule), .. }] if rule.cases.is_empty() => return self.verdict(rule.otherwise),
            [Range { rule: Some(rule), .. }] => return self.rule(rule),
            [Range { rule: None, .. }] => return self.verdict(Verdict::Allow),
            // One number among others that are all allowed.
            [Range { rule: None, .. }, one, Range { rule: None, from, .. }] if one.from + 1 == *from => {
                let yes = self.search(&ranges[1..2]);
                let no = self.verdict(Verdict::Allow);
                return self.branch(JUMP_EQUAL, one.from, yes, no);
            }
            _ => {}
        }
        let whole: u32 = ranges.iter().map(|range| range.weight).sum();
        let mut left = ranges[0].weight;
        let mut at = 1;
        while at + 1 < ranges.len() && left + ranges[at].weight / 2 < whole / 2 {
            left += ranges[at].weight;
            at += 1;
        }
        let (below, above) = ranges.split_at(at);
        let yes = self.search(above);
        let no = self.search(below);
        self.branch(JUMP_AT_LEAST, above[0].from, yes, no)
    }
}

/// Numbers that are judged alike, up to the next range.
#[derive(Clone, Copy)]
struct Range<'a> {
    from: u32,
    /// How many of them a kernel may have.
    weight: u32,
    /// All is allowed where there is none.
    rule: Option<&'a Rule>,
}

/// No kernel has as many system calls.
const NUMBERS: u32 = 512;

/// Calls of this number and above are x32's, which mean other things (`__X32_SYSCALL_BIT`).
const FOREIGN: u32 = 0x4000_0000;

/// Every number, in ranges. Neighbours with the same plain verdict are one.
fn ranges<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<Range<'a>> {
    let alike = |known: &Range<'_>, rule: &Rule| {
        known.rule.is_some_and(|known| {
            known.cases.is_empty() && rule.cases.is_empty() && known.otherwise == rule.otherwise
        })
    };
    let mut out: Vec<Range<'_>> = Vec::with_capacity(40);
    out.push(Range { from: 0, weight: 0, rule: None });
    for rule in rules {
        if out.last().is_some_and(|open| open.from > rule.number) {
            // Judged already.
            continue;
        }
        // Nothing lies between the one before and this one.
        out.pop_if(|open| open.from == rule.number);
        if !out.last().is_some_and(|known| alike(known, rule)) {
            out.push(Range { from: rule.number, weight: 0, rule: Some(rule) });
        }
        if rule.number < FOREIGN {
            out.push(Range { from: rule.number + 1, weight: 0, rule: None });
        }
    }
    let mut end = NUMBERS;
    for range in out.iter_mut().rev() {
        // Never nothing: each must be found.
        range.weight = end.saturating_sub(range.from).max(1);
        end = end.min(range.from);
    }
    out
}

/// The program: a foreign architecture's calls (32-bit, x32) end the process, since their numbers mean
/// other things.
pub fn program(rules: &[Rule]) -> Vec<sock_filter> {
    let foreign = Rule { number: FOREIGN, cases: Vec::new(), otherwise: Verdict::Kill };
    let foreign = cfg!(target_arch = "x86_64").then_some(&foreign);
    let mut out = Assembler {
        code: Vec::with_capacity(96),
        returns: Vec::with_capacity(8),
        rules: Vec::with_capacity(8),
    };
    out.search(&ranges(rules.iter().chain(foreign)));
    let found = out.statement(LOAD, NUMBER);
    let kill = out.verdict(Verdict::Kill);
    out.branch(JUMP_EQUAL, AUDIT_ARCH, found, kill);
    out.statement(LOAD, ARCH);
    out.code.reverse();
    out.code
}

#[cfg(test)]
mod tests;
