//! Completions for bash, zsh and fish: what clap_complete makes of the argument definitions, and over it a
//! layer that completes agents, sessions, profiles and the like from the data of this moment.
//!
//! The layer knows an argument by its value name ([`Kind::of`]). It asks the tools themselves, quietly and with
//! a time limit, so that a locked database or a missing program never disturbs a shell.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::Shell;

/// The shell functions that find candidates, for bash and zsh alike.
const LIVE: &str = include_str!("live.sh");

/// What an argument names that lives in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Agents of `btmsg.db`.
    Agents,
    /// Channels of `btmsg.db`.
    Channels,
    /// Dead letters.
    Letters,
    /// Messages in the caller's inbox.
    Messages,
    /// Supervised commands.
    Sessions,
    /// Sandbox profiles.
    Profiles,
}

/// All of them, with their word in the shell functions.
const KINDS: [(Kind, &str); 6] = [
    (Kind::Agents, "agents"),
    (Kind::Channels, "channels"),
    (Kind::Letters, "letters"),
    (Kind::Messages, "messages"),
    (Kind::Sessions, "sessions"),
    (Kind::Profiles, "profiles"),
];

impl Kind {
    fn word(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// What `arg` of `path` (the tool and its subcommands) names, if it lives in the data.
    pub fn of(path: &[&str], arg: &Arg) -> Option<Kind> {
        let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        let long = arg.get_long().unwrap_or_default();
        match (path, long, value) {
            (["agor-sandbox", ..], "profile", _) => Some(Kind::Profiles),
            (["agor-supervise", _, ..], "", "NAME") => Some(Kind::Sessions),
            (["agor-supervise"], "agent", _) => Some(Kind::Agents),
            (["btmsg", ..], "", "LETTER") => Some(Kind::Letters),
            (["btmsg", ..], _, "MESSAGE") => Some(Kind::Messages),
            (["btmsg", ..], "", "CHANNEL") => Some(Kind::Channels),
            (["btmsg", "unregister"], "", "ID") => Some(Kind::Agents),
            (["btmsg", ..], "as", _) => Some(Kind::Agents),
            (["btmsg", "allow" | "deny"], "", _) => Some(Kind::Agents),
            (["btmsg", ..], _, "AGENT" | "TO… TEXT") => Some(Kind::Agents),
            _ => None,
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn names(arg: &Arg) -> Vec<String> {
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
    shorts.iter().map(|c| format!("-{c}")).chain(longs.iter().map(|long| format!("--{long}"))).collect()
}

/// Calls `visit` with every command of the tree and its path, the tool first; `help` and hidden ones are left out.
pub fn walk<'a>(
    command: &'a Command,
    path: &mut Vec<&'a str>,
    visit: &mut impl FnMut(&[&'a str], &'a Command),
) {
    path.push(command.get_name());
    visit(path, command);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        walk(sub, path, visit);
    }
    path.pop();
}

/// A copy in which every argument that lives in the data carries the hint that `hint` gives its kind, and a
/// command to run is known as one.
fn hinted(command: Command, path: &[&str], hint: &impl Fn(Kind) -> ValueHint) -> Command {
    let name = command.get_name().to_owned();
    let mut path = path.to_vec();
    path.push(&name);
    let command = command.mut_args(|arg| {
        if let Some(kind) = Kind::of(&path, &arg) {
            arg.value_hint(hint(kind))
        } else if arg.is_last_set() {
            arg.value_hint(ValueHint::CommandWithArguments)
        } else {
            arg
        }
    });
    command.mut_subcommands(|sub| hinted(sub, &path, hint))
}

fn generate(shell: Shell, mut command: Command) -> String {
    let name = command.get_name().to_owned();
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut out);
    String::from_utf8(out).expect("clap_complete writes text")
}

fn live(profiles: &[&str]) -> String {
    LIVE.replace("@PROFILES@", &profiles.join(" "))
}

fn function(tool: &str) -> String {
    format!("_agor_complete_{}", tool.replace('-', "_"))
}

/// The completion of `tool` for bash, `PREFIX/share/bash-completion/completions/TOOL`.
pub fn bash(tool: &Command, profiles: &[&str]) -> String {
    let name = tool.get_name().to_owned();
    let generated = generate(Shell::Bash, tool.clone());
    // The layer's function takes its place; it falls back to it.
    let (functions, _) = generated.split_once("\nif [[ \"${BASH_VERSINFO[0]}\"").unwrap_or((&generated, ""));
    let (mut subs, mut valued, mut kinds) = (String::new(), String::new(), String::new());
    walk(tool, &mut Vec::new(), &mut |path, command| {
        let at = path.join(" ");
        let all: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        let _ = writeln!(subs, "    '{at}') echo '{}' ;;", all.join(" "));
        let with: Vec<_> =
            command.get_arguments().filter(|arg| !arg.is_positional() && takes_value(arg)).collect();
        let words: Vec<_> = with.iter().flat_map(|arg| names(arg)).collect();
        let _ = writeln!(valued, "    '{at}') echo '{}' ;;", words.join(" "));
        for arg in with {
            if let Some(kind) = Kind::of(path, arg) {
                for option in names(arg) {
                    let _ = writeln!(kinds, "    '{at} {option}') echo {} ;;", kind.word());
                }
            }
        }
        for (index, arg) in command.get_positionals().enumerate() {
            let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
            if let Some(kind) = Kind::of(path, arg) {
                let at = if many { format!("'{at} '*") } else { format!("'{at} {index}'") };
                let _ = writeln!(kinds, "    {at}) echo {} ;;", kind.word());
            }
        }
    });
    let this = function(&name);
    let live = live(profiles);
    format!(
        r#"# Generated: make pages. shellcheck shell=bash disable=all
{functions}
# What lives in the data: agents, sessions, profiles and the like, asked for when they are needed.
{live}
{this}_subcommands() {{
    case $1 in
{subs}    esac
}}
{this}_valued() {{
    case $1 in
{valued}    esac
}}
{this}_kind() {{ # of an option or of the positional with that index
    case $1 in
{kinds}    esac
}}
{this}() {{
    local cur=$2 last=$((COMP_CWORD - 1)) path={name} index=0 value='' kind='' word i line
    # bash splits --option=value at the sign.
    [ "${{COMP_WORDS[COMP_CWORD]}}" != '=' ] || cur=''
    for ((i = 1; i <= last; i++)); do
        word=${{COMP_WORDS[i]}}
        if [ "$word" = '=' ]; then
            continue
        elif [ -n "$value" ]; then
            value=''
            continue
        fi
        case $word in
        --)
            # A command to run: it completes itself where bash-completion is loaded.
            if declare -F _comp_command_offset >/dev/null; then
                _comp_command_offset $((i + 1))
            elif declare -F _command_offset >/dev/null; then
                _command_offset $((i + 1))
            elif ((i == last)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur" | sort -u)
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            fi
            return 0
            ;;
        -*) case " $({this}_valued "$path") " in *" $word "*) value=$word ;; esac ;;
        *)
            case " $({this}_subcommands "$path") " in
            *" $word "*) path="$path $word" index=0 ;;
            *) index=$((index + 1)) ;;
            esac
            ;;
        esac
    done
    if [ -n "$value" ]; then
        kind=$({this}_kind "$path $value")
    elif [[ $cur != -* ]]; then
        kind=$({this}_kind "$path $index")
    fi
    if [ -z "$kind" ]; then
        _{fallback} "$@"
        return
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        [[ $line != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_agor_live "$kind")
}}
complete -F {this} -o bashdefault -o default {name}
"#,
        fallback = name.replace('-', "__"),
    )
}

/// The completion of `tool` for zsh, `PREFIX/share/zsh/site-functions/_TOOL`.
pub fn zsh(tool: &Command, profiles: &[&str]) -> String {
    // Hints that no argument of ours has stand for the kinds; their functions are then replaced.
    let hint = |kind| match kind {
        Kind::Agents => ValueHint::Username,
        Kind::Channels => ValueHint::Hostname,
        Kind::Letters => ValueHint::Url,
        Kind::Messages => ValueHint::EmailAddress,
        Kind::Sessions => ValueHint::CommandString,
        Kind::Profiles => ValueHint::ExecutablePath,
    };
    let mut text = generate(Shell::Zsh, hinted(tool.clone(), &[], &hint));
    for (function, kind) in [
        ("_users", Kind::Agents),
        ("_hosts", Kind::Channels),
        ("_urls", Kind::Letters),
        ("_email_addresses", Kind::Messages),
        ("_cmdstring", Kind::Sessions),
        ("_absolute_command_paths", Kind::Profiles),
    ] {
        text = text.replace(&format!(":{function}'"), &format!(":_agor_{}'", kind.word()));
    }
    let name = tool.get_name();
    if tool.has_subcommands() && tool.get_positionals().next().is_some() {
        text = without_positionals(&text, name, tool.get_positionals().any(|arg| !arg.is_last_set()));
    }
    if tool.get_positionals().any(Arg::is_last_set) {
        // A command to run completes itself.
        let start = format!("_{name}() {{\n");
        text = text.replacen(&start, &format!("{start}{ZSH_COMMAND}"), 1);
    }
    let mut wrappers = String::new();
    for (_, word) in KINDS {
        let _ = writeln!(
            wrappers,
            "_agor_{word}() {{ local -a found; found=(${{(f)\"$(_agor_live {word})\"}}); compadd -a found }}"
        );
    }
    // `profiles` is both a list and a completer.
    let live = live(profiles).replace("_agor_profiles", "_agor_profile_names");
    let (head, rest) = text.split_once("\n\n").unwrap_or(("", &text));
    format!("{head}\n# Generated: make pages.\n\n{live}{wrappers}\n{rest}")
}

const ZSH_COMMAND: &str = r#"    integer dashes=${words[(i)--]}
    if (( dashes < CURRENT )); then
        words=("${(@)words[dashes+1,-1]}")
        (( CURRENT -= dashes ))
        _normal
        return
    fi
"#;

/// The generator counts a tool's own positionals as words before the subcommand, and then never finds it:
/// without them it does. `files` says that such a word may be a file too.
fn without_positionals(text: &str, name: &str, files: bool) -> String {
    let marker = format!("\":: :_{name}_commands\" \\\n");
    let Some((before, after)) = text.split_once(&marker) else { return text.to_owned() };
    let mut lines: Vec<&str> = before.lines().collect();
    while lines
        .last()
        .is_some_and(|line| line.starts_with("'::") || line.starts_with("':") || line.starts_with("'*::"))
    {
        lines.pop();
    }
    let commands = if files { format!("{{_{name}_commands; _files}}") } else { format!("_{name}_commands") };
    let (own, rest) = after.split_once("esac").unwrap_or((after, ""));
    let (head, tail) = own.split_once("case $line[2] in").unwrap_or((own, ""));
    let head = head.replace("$line[2]", "$line[1]");
    let case = if tail.is_empty() { "" } else { "case $line[1] in" };
    let esac = if rest.is_empty() { "" } else { "esac" };
    format!("{}\n\":: :{commands}\" \\\n{head}{case}{tail}{esac}{rest}", lines.join("\n"))
}

/// The completion of `tool` for fish, `PREFIX/share/fish/vendor_completions.d/TOOL.fish`.
pub fn fish(tool: &Command, profiles: &[&str]) -> String {
    // A hint for which the generator suppresses files and adds nothing.
    let mut text = String::from("# Generated: make pages.\n");
    text.push_str(&generate(Shell::Fish, hinted(tool.clone(), &[], &|_| ValueHint::Url)));
    let name = tool.get_name();
    let condition = format!("__fish_{}_using_subcommand", name.replace('-', "_"));
    text.push_str("\n# What lives in the data, asked for when it is needed.\n");
    text.push_str(&FISH_LIVE.replace("@PROFILES@", &profiles.join(" ")));
    walk(tool, &mut Vec::new(), &mut |path, command| {
        let at = match path {
            [_] => String::new(),
            [_, sub] => format!(" -n '{condition} {sub}'"),
            [_, sub, below, ..] => {
                format!(" -n '{condition} {sub}; and __fish_seen_subcommand_from {below}'")
            }
            [] => return,
        };
        for arg in command.get_arguments() {
            let Some(kind) = Kind::of(path, arg) else { continue };
            let option = match (arg.get_long(), arg.get_short()) {
                (Some(long), _) => format!(" -l {long} -x"),
                (None, Some(short)) => format!(" -s {short} -x"),
                (None, None) => " -f".to_owned(),
            };
            let _ = writeln!(text, "complete -c {name}{at}{option} -a '(__agor_live {})'", kind.word());
        }
        if command.get_arguments().any(Arg::is_last_set) && path.len() == 1 {
            let _ = writeln!(
                text,
                "complete -c {name} -n 'contains -- -- (commandline -opc)' -x -a '(__agor_after_dashes)'"
            );
        }
    });
    text
}

const FISH_LIVE: &str = r#"function __agor_values
    set -l key $argv[1]
    timeout 2 $argv[2..-1] </dev/null 2>/dev/null | string match -rga '"'$key'":"?([^",{}\\\\]+)' | sort -u
end
function __agor_live
    switch $argv[1]
        case agents
            __agor_values id btmsg agents --json
        case channels
            __agor_values name btmsg channel list --json
        case letters
            __agor_values id btmsg dlq list --json
        case messages
            __agor_values id btmsg inbox --json
        case sessions
            __agor_values name agor-supervise list --json
        case profiles
            printf '%s\n' @PROFILES@
            set -l base $HOME/.config
            set -q XDG_CONFIG_HOME; and set base $XDG_CONFIG_HOME
            set -l own $base/agor/agor.toml
            set -q AGOR_CONFIG; and set own $AGOR_CONFIG
            for file in $own /etc/agor/agor.toml
                test -r $file; or continue
                string match -rg '^\s*\[sandbox\.profile\.["\']?([^\].\'"]+)' <$file | sort -u
                break
            end
    end
end
function __agor_after_dashes
    set -l words (commandline -opc) (commandline -ct)
    set -l at (contains -i -- -- $words)
    complete -C (string join ' ' -- (string escape -- $words[(math $at + 1)..-1]))
end
"#;
