//! The command line as clap sees it: help, man page, completions and the wording of errors.
//!
//! Nothing is read from these structures: [`crate::args`] parses, and a test keeps the two alike.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Runs one command that can touch only the files and the network that it was given.
#[derive(Debug, Parser)]
#[command(
    name = "agor-sandbox",
    version,
    about = "Runs one command that can touch only the files and the network that it was given",
    long_about = "Restricts itself with Landlock, seccomp, dropped capabilities and, where there is something to \
                  hide or to protect, a private mount namespace, and then replaces itself with COMMAND: no process \
                  stays behind, and COMMAND's status and signals are its own.\n\nWithout options the default \
                  profile holds: the working directory, the temporary directory and the agor data directory may be \
                  written, system files and the tools found on PATH may be read and executed, and nothing else, \
                  above all no secrets, can be opened. Where the kernel cannot enforce a part, COMMAND runs after \
                  a warning that names the reason; with --require it does not run.",
    override_usage = "agor-sandbox [OPTIONS] -- COMMAND [ARG]...\n       agor-sandbox explain [OPTIONS] [-- COMMAND [ARG]...]\n       \
                      agor-sandbox learn [OPTIONS] -- COMMAND [ARG]...\n       agor-sandbox doctor [--json]",
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    /// A verb, when it is not to run COMMAND.
    #[command(subcommand)]
    pub verb: Option<VerbArgs>,
    /// The policy.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Stay as a parent, and print at the end what was denied and the option that would grant it
    #[arg(long, help_heading = "Reporting")]
    pub explain_denials: bool,
    /// The command to run, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum VerbArgs {
    /// Print the effective policy and what this kernel enforces of it; runs nothing
    Explain {
        /// The policy.
        #[command(flatten)]
        policy: PolicyArgs,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
        /// The command that would run
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Run COMMAND without file and network restrictions, observe it, and print the profile that it needs
    Learn {
        /// The policy.
        #[command(flatten)]
        policy: PolicyArgs,
        /// Write the profile to FILE instead of stdout; without it COMMAND's own stdout goes to stderr
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The command to observe
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Say what this host can enforce, what is missing and how to get it
    Doctor {
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

/// What is granted, and how strictly.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// Read, write, create, remove and rename below PATH; repeatable
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub rw: Vec<PathBuf>,
    /// As --rw, and execute
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub rwx: Vec<PathBuf>,
    /// Read and list below PATH; repeatable
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub ro: Vec<PathBuf>,
    /// As --ro, and execute
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub rox: Vec<PathBuf>,
    /// Never let PATH be written although its parent is granted, even when it does not exist yet; repeatable
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub protect: Vec<PathBuf>,
    /// Protect nothing and hide no files: neither what a profile names nor what is built in
    #[arg(long, help_heading = "Files")]
    pub no_protect: bool,
    /// TCP at all: `all` (default), `ports` (only those of --connect-tcp and --bind-tcp), `none`
    #[arg(long, value_name = "none|ports|all", help_heading = "Network")]
    pub net: Option<OsString>,
    /// Connect to TCP port PORT, 0 to 65535; implies --net ports; repeatable, or several with commas
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    pub connect_tcp: Vec<OsString>,
    /// Bind TCP port PORT, 0 to 65535 (0: one of the kernel's choice); implies --net ports; repeatable
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    pub bind_tcp: Vec<OsString>,
    /// Connect to the Unix socket PATH of a process outside; repeatable
    #[arg(long, value_name = "PATH", help_heading = "Network")]
    pub unix: Vec<PathBuf>,
    /// Connect to every Unix socket that file permissions allow
    #[arg(long, help_heading = "Network")]
    pub unix_all: bool,
    /// No Unix sockets but unnamed pairs, not even between COMMAND's own processes
    #[arg(long, help_heading = "Network")]
    pub no_unix: bool,
    /// Set KEY to VALUE, or pass KEY on as it is; repeatable
    #[arg(long, value_name = "KEY[=VALUE]", help_heading = "Process")]
    pub env: Vec<OsString>,
    /// Pass KEY (or `PREFIX*`) on although a filter would remove it; repeatable
    #[arg(long, value_name = "KEY", help_heading = "Process")]
    pub env_keep: Vec<OsString>,
    /// Pass on only PATH, HOME, USER, the locale, the terminal and the like, AGOR_* and XDG_*, and what --env
    /// and --env-keep name
    #[arg(long, help_heading = "Process")]
    pub env_clean: bool,
    /// Limit a resource: nofile=1024, as=4G, nproc=200:400 (soft:hard); repeatable
    #[arg(long, value_name = "NAME=N[:N]", help_heading = "Process")]
    pub rlimit: Vec<OsString>,
    /// Leave descriptor N open; all others above 2 are closed; repeatable
    #[arg(long, value_name = "N", help_heading = "Process")]
    pub keep_fd: Vec<OsString>,
    /// Refuse ptrace even between COMMAND's own processes
    #[arg(long, help_heading = "Process")]
    pub no_ptrace: bool,
    /// Kill COMMAND when the process that started it dies
    #[arg(long, help_heading = "Process")]
    pub die_with_parent: bool,
    /// Start from profile NAME: default, claude, codex, aider, node, strict, or one of the configuration
    #[arg(long, value_name = "NAME", help_heading = "Policy")]
    pub profile: Option<OsString>,
    /// Read the configuration from FILE
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub config: Option<PathBuf>,
    /// Fail with status 125 where anything is missing or cannot be enforced in full
    #[arg(long, env = "AGOR_SANDBOX_REQUIRE", value_parser = clap::builder::FalseyValueParser::new(), help_heading = "Policy")]
    pub require: bool,
    /// Look for files in read-write grants that have another name outside (hard links), and warn
    #[arg(long, help_heading = "Policy")]
    pub check: bool,
    /// Write one JSON object about every layer to descriptor N
    #[arg(long, value_name = "N", help_heading = "Reporting")]
    pub status_fd: Option<OsString>,
    /// Write one JSON object about every layer to FILE
    #[arg(long, value_name = "FILE", help_heading = "Reporting")]
    pub status_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{OPTIONS, Opt, Verb, allowed};
    use clap::CommandFactory as _;

    fn compare(command: &clap::Command, verb: Verb) {
        let mut known: Vec<(String, bool)> = command
            .get_arguments()
            .filter(|arg| !arg.is_last_set())
            .filter_map(|arg| {
                let name = arg.get_long()?.to_owned();
                (!matches!(name.as_str(), "help" | "version"))
                    .then(|| (name, arg.get_action().takes_values()))
            })
            .collect();
        let mut ours: Vec<(String, bool)> = OPTIONS
            .iter()
            .filter(|(_, opt, _)| allowed(*opt, verb))
            .map(|(name, _, value)| ((*name).to_owned(), *value))
            .collect();
        known.sort();
        ours.sort();
        assert_eq!(known, ours, "{verb:?}");
    }

    #[test]
    fn the_two_parsers_know_the_same_options() {
        let command = Cli::command();
        command.clone().debug_assert();
        compare(&command, Verb::Run);
        for (name, verb) in Verb::WORDS {
            compare(command.find_subcommand(name).unwrap(), verb);
        }
        assert_eq!(command.get_subcommands().count(), Verb::WORDS.len());
        assert!(OPTIONS.iter().any(|(_, opt, _)| *opt == Opt::Rw));
    }
}
