//! `agor-sandbox learn`: runs COMMAND with files and network open, watches, and writes the profile that
//! would have allowed the run. Without `--output` COMMAND's stdout goes to stderr. Everything else
//! (capabilities, environment, the seccomp list) holds.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use agor_common::output::{self, Out};
use agor_common::{Exit, text};

use super::run::{Mode, become_command, die_with_parent};
use crate::TOOL;
use crate::args::{Args, Opt};
use crate::error::Error;
use crate::host::Host;
use crate::model::Model;
use crate::observe::Want;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::profile::Profile;
use crate::report::Sink;
use crate::supervise;

/// Below the home directory: refused while learning, and never put into a profile.
const SECRETS: [&str; 32] = [
    ".ssh",
    ".aws",
    ".gnupg",
    ".netrc",
    ".git-credentials",
    ".pgpass",
    ".my.cnf",
    ".kube",
    ".docker",
    ".config/gh",
    ".config/gcloud",
    ".config/hub",
    ".azure",
    ".password-store",
    ".local/share/keyrings",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".pypirc",
    ".vault-token",
    ".config/op",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".local/share/fish/fish_history",
    ".mysql_history",
];

/// So many files of one directory become the directory.
const MANY: usize = 4;

#[derive(Debug, Default)]
struct Learned {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    execute: BTreeSet<PathBuf>,
    unix: BTreeSet<PathBuf>,
    tcp: BTreeSet<u16>,
    bind: BTreeSet<u16>,
    udp: bool,
    hidden: BTreeSet<PathBuf>,
    protected: BTreeSet<PathBuf>,
    covered: BTreeSet<PathBuf>,
    pinned: BTreeSet<PathBuf>,
    secrets: BTreeSet<PathBuf>,
    /// When COMMAND was started.
    started: Option<SystemTime>,
}

/// Runs COMMAND and writes the profile.
#[inline(never)]
pub(crate) fn run(args: &Args) -> Result<Exit, Error> {
    let host = Host::current();
    let plan = Plan::new(Policy::build(args, &host)?, &host)?;
    die_with_parent(&plan)?;
    let model = Model::new(&plan);
    let secrets: Vec<PathBuf> = host
        .home
        .iter()
        .flat_map(|home| SECRETS.map(|secret| home.join(secret)))
        .map(|path| std::fs::canonicalize(&path).unwrap_or(path))
        .collect();
    // The kernel's clock for files may be a tick behind.
    let started = SystemTime::now().checked_sub(Duration::from_millis(10));
    let mut learned = Learned { started, ..Learned::default() };
    let to_stdout = args.last(Opt::Output).is_none();
    let exit = supervise::run(
        |socket| {
            if to_stdout {
                // Stdout is for the profile: what COMMAND says goes to stderr.
                crate::sys::process::stdout_to_stderr();
            }
            let Err(error) = become_command(args, &host, &plan, Sink::default(), Mode::Learning(socket));
            agor_common::error::report(TOOL, &error, false)
        },
        |wants| {
            let mut secret = false;
            for want in wants {
                secret |= learned.add(&model, &secrets, want);
            }
            secret.then_some(libc::EACCES)
        },
        // Landlock is not up while learning.
        &mut None,
    )?;
    let name = args.command.first().map(Path::new).and_then(Path::file_name);
    let name: String = name.map_or("learned".into(), |name| {
        name.to_string_lossy().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    });
    let (text, left_out) = learned.profile(&format!("{name}-learned"), &plan, &host, &secrets);
    match args.last(Opt::Output) {
        Some(file) => std::fs::write(Path::new(file), text)
            .map_err(|error| Error::apply(format!("write {}", file.to_string_lossy()), error))?,
        None => {
            let mut out = Out::stdout();
            out.bytes(text.as_bytes())?;
            out.flush()?;
        }
    }
    for why in left_out {
        output::warning(TOOL, &why);
    }
    Ok(exit)
}

impl Learned {
    /// Whether it is a secret.
    fn add(&mut self, model: &Model<'_>, secrets: &[PathBuf], want: Want) -> bool {
        if let Want::Read(path) | Want::Write(path) | Want::Change(path) | Want::Execute(path) = &want
            && secrets.iter().any(|secret| path.starts_with(secret))
            && model.refuses(&want).is_some()
        {
            self.secrets.insert(path.clone());
            return true;
        }
        if model.refuses(&want).is_none() {
            return false;
        }
        match want {
            Want::Read(path) if model.hidden(&path) => self.hidden.insert(path),
            Want::Read(path) => self.read.insert(path),
            Want::Write(path) | Want::Change(path) if model.protected(&path) => self.protected.insert(path),
            Want::Write(path) | Want::Change(path) if model.covered(&path).is_some() => {
                self.covered.insert(path)
            }
            Want::Write(path) => self.write.insert(path),
            Want::Change(path) if model.pinned(&path) => self.pinned.insert(path),
            // Making and removing names is a right on the directory.
            Want::Change(path) => self.write.insert(path.parent().map_or(path.clone(), Path::to_path_buf)),
            Want::Execute(path) => self.execute.insert(path),
            Want::Unix(path) => self.unix.insert(path),
            Want::Tcp(port) => self.tcp.insert(port),
            Want::Bind(port) => self.bind.insert(port),
            Want::Udp => std::mem::replace(&mut self.udp, true),
        };
        false
    }

    /// The profile, and what is not in it.
    fn profile(&self, name: &str, plan: &Plan, host: &Host, secrets: &[PathBuf]) -> (String, Vec<String>) {
        let wide = |dir: &Path| {
            host.holds_home(dir)
                || dir.components().count() <= 2
                || secrets.iter().any(|secret| secret.starts_with(dir))
        };
        let mut left_out = Vec::new();
        let mut leave_out = |path: &Path, why: &str| {
            left_out.push(format!("{} {why}", text::single_line(&path.to_string_lossy())));
        };
        for path in &self.secrets {
            leave_out(path, "was refused and is not in the profile: a secret");
        }
        for path in &self.protected {
            leave_out(path, "is protected, was written to and is not in the profile: --rw lifts it");
        }
        for path in &self.covered {
            leave_out(path, "is hidden, was written to and is not in the profile: --rw lifts it");
        }
        for path in &self.pinned {
            leave_out(path, "holds protected paths, was changed and is not in the profile: see --no-protect");
        }
        for path in &self.hidden {
            leave_out(path, "is hidden, was read and is not in the profile: --ro lifts it");
        }
        let mut strings = |paths: Vec<PathBuf>, below: &[&Vec<String>]| {
            let mut out: Vec<String> = Vec::new();
            for path in paths {
                // A rule is bound to what is there: of no use for what has been removed.
                if below.iter().any(|list| list.iter().any(|known| path.starts_with(known))) || !path.exists()
                {
                    continue;
                }
                let secret = secrets.iter().any(|secret| secret.starts_with(&path) && secret.exists());
                match path.to_str() {
                    _ if secret || host.holds_home(&path) => {
                        leave_out(&path, "is not in the profile: there are secrets in it");
                    }
                    Some(path) => out.push(path.to_owned()),
                    None => leave_out(&path, "is not in the profile: its name is not UTF-8"),
                }
            }
            out
        };
        let mut write = strings(gathered(&self.write, wide), &[]);
        let made = |path: &Path| {
            let Ok(meta) = std::fs::symlink_metadata(path) else { return true };
            let changed = Duration::new(meta.ctime().unsigned_abs(), meta.ctime_nsec().unsigned_abs() as u32);
            self.started.is_some_and(|started| SystemTime::UNIX_EPOCH + changed >= started)
        };
        // What COMMAND made and then ran is another file in the next run: its directory is what can be granted.
        let mut write_execute = Vec::new();
        write.retain(|dir| {
            let runs = self.execute.iter().any(|path| path.starts_with(dir) && made(path));
            if runs {
                write_execute.push(dir.clone());
            }
            !runs
        });
        let execute = strings(gathered(&self.execute, wide), &[&write_execute]);
        let read = strings(gathered(&self.read, wide), &[&write, &write_execute, &execute]);
        let unix = strings(self.unix.iter().cloned().collect(), &[]);
        if self.udp {
            left_out.push("UDP was used and is not in the profile: only --net all allows it".to_owned());
        }
        let profile = Profile {
            extends: Some(plan.policy.profile.clone()),
            read_write_paths: write,
            read_write_execute_paths: write_execute,
            read_execute_paths: execute,
            read_only_paths: read,
            unix_paths: unix,
            connect_tcp: self.tcp.iter().copied().collect(),
            bind_tcp: self.bind.iter().copied().collect(),
            ..Profile::default()
        };
        let mut out = String::from("# Learned by agor-sandbox: look it over before use.\n");
        for why in &left_out {
            out.push_str(&format!("# {why}\n"));
        }
        out.push_str(&format!("[sandbox.profile.{name}]\n"));
        out.push_str(&to_toml(&profile));
        (out, left_out)
    }
}

/// A table's keys and values: the workspace's toml only reads.
fn to_toml(profile: &Profile) -> String {
    // JSON's escapes are TOML's, and this is the one character that only TOML escapes.
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f");
    let mut out = String::new();
    if let Some(extends) = &profile.extends {
        out.push_str(&format!("extends = {}\n", quoted(extends)));
    }
    for (key, list) in [
        ("read_write_paths", &profile.read_write_paths),
        ("read_write_execute_paths", &profile.read_write_execute_paths),
        ("read_execute_paths", &profile.read_execute_paths),
        ("read_only_paths", &profile.read_only_paths),
        ("unix_paths", &profile.unix_paths),
    ] {
        if !list.is_empty() {
            let items: Vec<String> = list.iter().map(|item| format!("    {},\n", quoted(item))).collect();
            out.push_str(&format!("{key} = [\n{}]\n", items.concat()));
        }
    }
    for (key, ports) in [("connect_tcp", &profile.connect_tcp), ("bind_tcp", &profile.bind_tcp)] {
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            out.push_str(&format!("{key} = [{}]\n", ports.join(", ")));
        }
    }
    out
}

/// Paths with many neighbours become their directory, unless that is too wide to be meant.
fn gathered(paths: &BTreeSet<PathBuf>, wide: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let neighbours = |dir: &Path| paths.iter().filter(|path| path.parent() == Some(dir)).count();
    let mut out: Vec<PathBuf> = Vec::new();
    for path in paths {
        let dir = path.parent().unwrap_or(path);
        let chosen = if neighbours(dir) >= MANY && !wide(dir) { dir } else { path.as_path() };
        if !out.iter().any(|known| chosen.starts_with(known)) {
            out.push(chosen.to_path_buf());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_become_their_directory_but_never_the_home() {
        let wide = |dir: &Path| dir == Path::new("/h/u");
        let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        let many = set(&["/d/e/1", "/d/e/2", "/d/e/3", "/d/e/4", "/x/y/1"]);
        assert_eq!(gathered(&many, wide), [PathBuf::from("/d/e"), "/x/y/1".into()]);
        let home = set(&["/h/u/1", "/h/u/2", "/h/u/3", "/h/u/4"]);
        assert_eq!(gathered(&home, wide).len(), 4);
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let profile = Profile {
            extends: Some("default".into()),
            read_only_paths: vec!["/a \"b\"\\c\nd\u{7f}\u{1b}\u{85}".into()],
            connect_tcp: vec![443],
            bind_tcp: vec![0, 80],
            ..Profile::default()
        };
        let text = format!("[sandbox.profile.x]\n{}", to_toml(&profile));
        let back: crate::profile::Settings =
            agor_common::config::parse(&text, "sandbox", Path::new("x.toml")).unwrap();
        assert_eq!(back.profile["x"], profile);
    }
}
