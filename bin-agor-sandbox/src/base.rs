//! What the profiles `default` and `strict` grant before anything else is said.
//!
//! Secrets appear in none of these lists. A path that does not exist is passed over in silence here; one
//! that the user named is not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::host::{Host, within};
use crate::policy::{Grant, Origin};
use crate::profile::Base;
use crate::rights::Rights;
use crate::sys::path::real;

const SYSTEM: &str = "system";
const DEVICE: &str = "device";
const TOOLS: &str = "tools on PATH";
pub(crate) const TEMPORARY: &str = "temporary directory";

/// Where programs and their libraries live. The last ones are links into `/usr` on most systems, and then
/// need no rule of their own. `/lib32` and `/libx32` are none: such programs are ended.
const PROGRAMS: [&str; 8] = ["/usr", "/nix/store", "/gnu/store", "/snap", "/bin", "/sbin", "/lib", "/lib64"];

/// Read by programs of every kind: the loader, name lookup, certificates, CPU counts, cgroup limits.
const READ: [&str; 5] =
    ["/etc", "/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"];

const STRICT_READ: [&str; 14] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld-musl-x86_64.path",
    "/etc/alternatives",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    "/proc",
];

const DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];

const STRICT_DEVICES: usize = 6;

/// The last ones of `DEVICES` are directories.
const DEVICE_FILES: usize = 7;

/// Whether a grant is one of the built-in device files.
pub(crate) fn is_device(grant: &Grant) -> bool {
    grant.origin == Origin::BuiltIn(DEVICE)
        && DEVICES[..DEVICE_FILES].iter().any(|device| grant.path.as_os_str() == *device)
}

/// Whether a grant is one of the built-in devices, and not the memory that is used like a temporary directory.
pub(crate) fn is_in_dev(grant: &Grant) -> bool {
    grant.origin == Origin::BuiltIn(DEVICE) && grant.path.as_os_str() != "/dev/shm"
}

/// Directories below the home directory that hold one tool and no secrets: granted whole when PATH leads
/// into them.
const HOMES: [&str; 15] = [
    ".pyenv",
    ".rbenv",
    ".nodenv",
    ".goenv",
    ".nvm",
    ".volta",
    ".asdf",
    ".bun",
    ".deno",
    ".rustup",
    ".sdkman",
    ".npm-global",
    ".linuxbrew",
    ".ghcup",
    ".juliaup",
];

/// What stands beside a `bin` directory and belongs to the programs in it.
const BESIDE: [&str; 6] = ["lib", "lib64", "libexec", "share", "versions", "pyvenv.cfg"];

/// In `~/.local`, where `share` holds other things too.
const LOCAL: [&str; 6] = ["lib", "share/claude", "share/pipx", "share/uv", "share/mise", "share/pnpm"];

struct Grants {
    list: Vec<Grant>,
}

impl Grants {
    fn add(&mut self, path: impl Into<PathBuf>, rights: Rights, why: &'static str) {
        self.list.push(Grant { path: path.into(), rights, origin: Origin::BuiltIn(why) });
    }

    fn has(&self, path: &Path, rights: Rights) -> bool {
        self.list.iter().any(|grant| grant.rights.covers(rights) && within(path, &grant.path))
    }

    fn add_new(&mut self, path: PathBuf, rights: Rights, why: &'static str) {
        if !self.has(&path, rights) {
            self.add(path, rights, why);
        }
    }
}

/// The grants of a base, in the order in which `explain` shows them.
pub(crate) fn grants(base: Base, host: &Host) -> Vec<Grant> {
    let mut grants = Grants { list: Vec::with_capacity(48) };
    for path in PROGRAMS {
        // A link such as /bin -> usr/bin leads into /usr, which is granted.
        let needed = path == "/usr"
            || match rustix::fs::readlink(path, Vec::with_capacity(64)) {
                Ok(to) => !to.to_bytes().starts_with(b"usr") && !to.to_bytes().starts_with(b"/usr"),
                Err(error) => error != rustix::io::Errno::NOENT,
            };
        if needed {
            grants.add(path, Rights::ROX, SYSTEM);
        }
    }
    match base {
        Base::Strict => {
            for path in STRICT_READ {
                grants.add(path, Rights::RO, SYSTEM);
            }
            for path in &DEVICES[..STRICT_DEVICES] {
                grants.add(path, Rights::RW, DEVICE);
            }
        }
        Base::Default => {
            for path in READ {
                grants.add(path, Rights::RO, SYSTEM);
            }
            resolver(&mut grants);
            for path in DEVICES {
                grants.add(path, Rights::RW, DEVICE);
            }
            places(&mut grants, host);
            for dir in &host.path {
                tools(&mut grants, host, dir);
            }
            homes(&mut grants, host);
            if let Some(home) = &host.home {
                // Not all of .config/git: git keeps credentials there too.
                for file in
                    [".gitconfig", ".config/git/config", ".config/git/ignore", ".config/git/attributes"]
                {
                    grants.add(home.join(file), Rights::RO, "git configuration");
                }
            }
        }
    }
    grants.list
}

/// `/etc/resolv.conf` often is a link into `/run`.
fn resolver(grants: &mut Grants) {
    if let Ok(to) = std::fs::read_link("/etc/resolv.conf") {
        let to = Path::new("/etc").join(to);
        if let Some(dir) = real(to).ok().and_then(|file| file.parent().map(Path::to_path_buf))
            && dir.starts_with("/run")
            && dir != Path::new("/run")
        {
            grants.add(dir, Rights::RO, "name lookup");
        }
    }
}

/// Project, temporary directory, data and runtime directory.
fn places(grants: &mut Grants, host: &Host) {
    if let Some(cwd) = &host.cwd
        && !host.holds_home(cwd)
    {
        grants.add(cwd, Rights::RWX, "project");
        let repository = crate::git::find(cwd);
        if let Some(repository) = repository {
            for dir in repository.outside(cwd) {
                grants.add(dir, Rights::RW, "git directory of the project");
            }
            if repository.top != *cwd && !host.holds_home(&repository.top) {
                grants.add(repository.top, Rights::RO, "repository around the project");
            }
        }
    }
    match &host.temp {
        Some(dir) => grants.add(dir, Rights::RW, TEMPORARY),
        // The second one is where SQLite puts what does not fit into memory (sqlite.org/tempfiles.html).
        None => {
            for dir in ["/tmp", "/var/tmp"] {
                grants.add(dir, Rights::RW, TEMPORARY);
            }
        }
    }
    if let Some(data) = &host.data {
        grants.add(data, Rights::RW, "agor data directory");
    }
    if let Some(runtime) = &host.runtime
        && host.data.as_ref().is_none_or(|data| !within(runtime, data))
    {
        grants.add(runtime, Rights::RW, "agor runtime directory");
    }
}

/// The innermost part of an absolute, tidy path that has one of these names.
fn innermost<'a>(path: &'a Path, names: &[&str]) -> Option<&'a Path> {
    let bytes = path.as_os_str().as_bytes();
    let mut end = bytes.len();
    while let Some(slash) = bytes[..end].iter().rposition(|byte| *byte == b'/') {
        if names.iter().any(|name| name.as_bytes() == &bytes[slash + 1..end]) {
            return Some(Path::new(OsStr::from_bytes(&bytes[..end])));
        }
        end = slash;
    }
    None
}

/// The tool chains that variables lead to; with their `bin` usually on PATH.
fn homes(grants: &mut Grants, host: &Host) {
    for (variable, dir) in host.tool_homes.iter().filter(|(_, dir)| !host.holds_home(dir)) {
        match *variable {
            "CARGO_HOME" => cargo_home(grants, dir),
            _ => grants.add_new(dir.clone(), Rights::ROX, TOOLS),
        }
    }
}

/// Not the whole: credentials.toml is there too.
fn cargo_home(grants: &mut Grants, dir: &Path) {
    for part in ["bin", "env", "config.toml", "registry", "git"] {
        grants.add_new(dir.join(part), Rights::ROX, TOOLS);
    }
}

/// A directory of PATH, and what belongs to the programs in it.
fn tools(grants: &mut Grants, host: &Host, dir: &Path) {
    if grants.has(dir, Rights::ROX)
        || host.holds_home(dir)
        || PROGRAMS.iter().any(|program| within(dir, Path::new(program)))
    {
        return;
    }
    // By its other name, too.
    if real(dir).is_ok_and(|dir| host.holds_home(&dir)) {
        return;
    }
    // Known by name wherever they are: another user's, or moved with HOME.
    let named = |names: &[&str]| innermost(dir, names);
    if let Some(root) = named(&HOMES) {
        return grants.add_new(root.to_path_buf(), Rights::ROX, TOOLS);
    }
    if let Some(cargo) = named(&[".cargo"]) {
        cargo_home(grants, cargo);
        return grants.add_new(cargo.with_file_name(".rustup"), Rights::ROX, TOOLS);
    }
    if let Some(local) = named(&[".local"])
        && dir.ends_with("bin")
    {
        grants.add_new(dir.to_path_buf(), Rights::ROX, TOOLS);
        for part in LOCAL {
            grants.add_new(local.join(part), Rights::ROX, TOOLS);
        }
        return;
    }
    // A link in node_modules/.bin leads to the package beside it, which runs others of that tree.
    if let Some(modules) = dir.parent().filter(|_| dir.ends_with("node_modules/.bin")) {
        return grants.add_new(modules.to_path_buf(), Rights::ROX, TOOLS);
    }
    grants.add_new(dir.to_path_buf(), Rights::ROX, TOOLS);
    let named_bin = dir.file_name().is_some_and(|name| name == "bin" || name == "sbin" || name == "shims");
    if let Some(prefix) = dir.parent().filter(|prefix| named_bin && !host.holds_home(prefix)) {
        for part in BESIDE {
            grants.add_new(prefix.join(part), Rights::ROX, TOOLS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(path: &[&str]) -> Host {
        Host {
            cwd: Some("/w/p".into()),
            home: Some("/h/u".into()),
            temp: None,
            path: path.iter().map(PathBuf::from).collect(),
            data: Some("/h/u/.local/share/agor".into()),
            ..Host::default()
        }
    }

    fn rights(grants: &[Grant], path: &str) -> Option<Rights> {
        grants
            .iter()
            .filter(|grant| Path::new(path).starts_with(&grant.path))
            .map(|grant| grant.rights)
            .reduce(Rights::union)
    }

    #[test]
    fn secrets_are_granted_by_nothing() {
        let path = [
            "/h/u/.cargo/bin",
            "/h/u/.local/bin",
            "/h/u/bin",
            "/h/u",
            "/",
            "/h/u/.pyenv/shims",
            "/o/node_modules/.bin",
        ];
        let grants = grants(Base::Default, &host(&path));
        for secret in [
            "/h/u/.ssh/id",
            "/h/u/.aws/credentials",
            "/h/u/.gnupg/x",
            "/h/u/.netrc",
            "/h/u/.bash_history",
            "/h/u/.cargo/credentials.toml",
            "/h/u/.local/share/keyrings/x",
            "/h/u/.claude/.credentials.json",
            "/h/u/.git-credentials",
            "/h/u/.config/git/credentials",
            "/h/u/.config/gh/hosts.yml",
            "/root/x",
        ] {
            assert_eq!(rights(&grants, secret), None, "{secret}");
        }
        assert_eq!(rights(&grants, "/h/u/.cargo/bin/cargo"), Some(Rights::ROX));
        assert_eq!(rights(&grants, "/h/u/.pyenv/versions/3/bin/python"), Some(Rights::ROX));
        assert_eq!(rights(&grants, "/h/u/.local/share/claude/versions/1"), Some(Rights::ROX));
        assert_eq!(rights(&grants, "/o/node_modules/a/b.js"), Some(Rights::ROX));
        assert_eq!(rights(&grants, "/o/package.json"), None);
        assert_eq!(rights(&grants, "/w/p/x"), Some(Rights::RWX));
        assert_eq!(rights(&grants, "/tmp/x"), Some(Rights::RW));
        assert_eq!(rights(&grants, "/h/u/.local/share/agor/btmsg.db"), Some(Rights::RW));
    }

    #[test]
    fn tool_chains_are_found_by_their_variables() {
        let mut host = host(&[]);
        host.tool_homes = vec![
            ("CARGO_HOME", "/opt/cargo".into()),
            ("RUSTUP_HOME", "/opt/rustup".into()),
            ("GOROOT", "/h".into()),
        ];
        let grants = grants(Base::Default, &host);
        assert_eq!(rights(&grants, "/opt/rustup/toolchains/x"), Some(Rights::ROX));
        assert_eq!(rights(&grants, "/opt/cargo/registry/x"), Some(Rights::ROX));
        assert_eq!(rights(&grants, "/opt/cargo/credentials.toml"), None);
        assert_eq!(rights(&grants, "/h/u/.ssh/id"), None);
    }

    #[test]
    fn parts_of_a_path_are_found_by_name() {
        let found = |path: &'static str| innermost(Path::new(path), &["a", "b"]).and_then(Path::to_str);
        assert_eq!(found("/x/a/y"), Some("/x/a"));
        assert_eq!(found("/a/b/c"), Some("/a/b"));
        assert_eq!(found("/ab/c"), None);
        assert_eq!(found("/"), None);
    }

    #[test]
    fn the_home_directory_is_no_project() {
        let mut home = host(&[]);
        home.cwd = home.home.clone();
        assert_eq!(rights(&grants(Base::Default, &home), "/h/u/x"), None);
        home.cwd = Some("/".into());
        assert_eq!(rights(&grants(Base::Default, &home), "/x"), None);
    }

    #[test]
    fn strict_grants_no_place_to_write() {
        let grants = grants(Base::Strict, &host(&["/opt/x/bin"]));
        assert!(grants.iter().all(|grant| !grant.rights.write || grant.path.starts_with("/dev")));
        assert_eq!(rights(&grants, "/opt/x/bin/x"), None);
    }
}
