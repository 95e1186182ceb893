//! `agor-sandbox doctor`: what this host can enforce, what is missing, and how to get it.

use agor_common::Exit;
use agor_common::output::Out;
use serde::Serialize;

use crate::args::{Args, Opt};
use crate::error::Error;
use crate::landlock::{self, Support};
use crate::{namespace, sys};

#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: u32,
    ok: bool,
    findings: &'a [Finding],
}

#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    ok: bool,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

fn finding(name: &'static str, ok: bool, what: impl Into<String>, help: Option<&str>) -> Finding {
    Finding { name, ok, what: what.into(), help: help.map(str::to_owned) }
}

/// What each ABI is the first to have.
const NEWS: [(u32, &str, &str); 9] = [
    (2, "5.19", "renaming between directories"),
    (3, "6.2", "truncation: below it a read-only file can be emptied"),
    (4, "6.7", "TCP ports"),
    (5, "6.10", "ioctl on devices"),
    (6, "6.12", "signals and abstract sockets"),
    (7, "6.15", "denials in the audit log"),
    (8, "7.0", "all threads at once (not needed here)"),
    (9, "7.1", "Unix sockets by path"),
    (10, "7.2", "UDP ports"),
];

/// Errata of Landlock (kernel documentation, userspace-api/landlock, "Errata").
const ERRATA: [(u32, &str); 3] = [
    (1, "TCP rules also hit other stream protocols"),
    (2, "signal scope also hit threads of the same process"),
    (3, "rights could grow through disconnected directories of bind mounts"),
];

/// Prints what was found. Status 1 when something is missing.
#[inline(never)]
pub(crate) fn run(args: &Args) -> Result<Exit, Error> {
    let findings = look();
    let mut out = Out::stdout();
    let ok = findings.iter().all(|finding| finding.ok);
    if args.has(Opt::Json) {
        out.json(&Report { schema: 1, ok, findings: &findings })?;
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok     " } else { "missing" };
            out.line(format!("{mark}  {:<16} {}", finding.name, finding.what))?;
            if let Some(help) = &finding.help {
                out.line(format!("{:<26} help: {help}", ""))?;
            }
        }
        out.flush()?;
    }
    Ok(if ok { Exit::OK } else { Exit::NEGATIVE })
}

fn look() -> Vec<Finding> {
    let mut findings = Vec::new();
    match landlock::support() {
        Support::Abi(abi) => {
            findings.push(finding("landlock", true, format!("ABI {abi}"), None));
            for (since, kernel, what) in NEWS.into_iter().filter(|(since, _, _)| abi < *since) {
                // These have another layer here, or are not needed.
                let stands_in = match since {
                    7 | 8 => Some("not needed to enforce anything"),
                    9 => Some("the mount namespace stands in"),
                    10 => Some("seccomp stands in"),
                    _ => None,
                };
                let what = format!("ABI {since} (Linux {kernel}) adds: {what}");
                match stands_in {
                    Some(how) => findings.push(finding("landlock-abi", true, format!("{what}; {how}"), None)),
                    None => findings.push(finding("landlock-abi", false, what, Some("run a newer kernel"))),
                }
            }
            if let Some(fixed) = sys::kernel::landlock_errata() {
                for (number, what) in
                    ERRATA.into_iter().filter(|(number, _)| fixed & (1 << (number - 1)) == 0)
                {
                    let what = format!("erratum {number} is not fixed: {what}");
                    findings.push(finding("landlock-errata", false, what, Some("update the kernel")));
                }
            }
        }
        Support::None { why, help } => findings.push(finding("landlock", false, why, Some(help))),
    }
    match namespace::probe() {
        Ok(how) => findings.push(finding("mount-namespace", true, how, None)),
        Err(why) => findings.push(finding(
            "mount-namespace",
            false,
            why,
            Some(
                "protected paths and other programs' sockets need it: allow user namespaces for this program",
            ),
        )),
    }
    for (name, action) in
        [("seccomp", libc::SECCOMP_RET_ERRNO), ("seccomp-notify", libc::SECCOMP_RET_USER_NOTIF)]
    {
        match sys::kernel::seccomp_has(action) {
            Ok(()) => findings.push(finding(name, true, "available", None)),
            Err(error) => {
                findings.push(finding(name, false, error.to_string(), Some("CONFIG_SECCOMP_FILTER=y")));
            }
        }
    }
    let scope = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    if scope.is_ok_and(|value| value.trim() == "1") {
        let what =
            "dev.tty.legacy_tiocsti is 1: programs can type into terminals; inside it is refused by seccomp";
        findings.push(finding("tiocsti", true, what, None));
    }
    if !std::path::Path::new("/proc/self/fd").exists() {
        findings.push(finding("proc", false, "/proc is not mounted", Some("mount -t proc proc /proc")));
    }
    findings
}
