# Generated: make pages.
# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_agor_sandbox_global_optspecs
    string join \n rw= rwx= ro= rox= protect= no-protect net= connect-tcp= bind-tcp= unix= unix-all no-unix env= env-keep= env-clean rlimit= keep-fd= no-ptrace die-with-parent profile= config= require check status-fd= status-file= explain-denials h/help V/version
end

function __fish_agor_sandbox_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_agor_sandbox_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_agor_sandbox_using_subcommand
    set -l cmd (__fish_agor_sandbox_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l rw -d 'Read, write, create, remove and rename below PATH; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l rwx -d 'As --rw, and execute' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l ro -d 'Read and list below PATH; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l rox -d 'As --ro, and execute' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l protect -d 'Never let PATH be written although its parent is granted, even when it does not exist yet; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l net -d 'TCP at all: `all` (default), `ports` (only those of --connect-tcp and --bind-tcp), `none`' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l connect-tcp -d 'Connect to TCP port PORT, 0 to 65535; implies --net ports; repeatable, or several with commas' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l bind-tcp -d 'Bind TCP port PORT, 0 to 65535 (0: one of the kernel\'s choice); implies --net ports; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l unix -d 'Connect to the Unix socket PATH of a process outside; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l env -d 'Set KEY to VALUE, or pass KEY on as it is; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l env-keep -d 'Pass KEY (or `PREFIX*`) on although a filter would remove it; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l rlimit -d 'Limit a resource: nofile=1024, as=4G, nproc=200:400 (soft:hard); repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l keep-fd -d 'Leave descriptor N open; all others above 2 are closed; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l profile -d 'Start from profile NAME: default, claude, codex, aider, node, strict, or one of the configuration' -r -f
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l config -d 'Read the configuration from FILE' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l status-fd -d 'Write one JSON object about every layer to descriptor N' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l status-file -d 'Write one JSON object about every layer to FILE' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l no-protect -d 'Protect nothing and hide no files: neither what a profile names nor what is built in'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l unix-all -d 'Connect to every Unix socket that file permissions allow'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l no-unix -d 'No Unix sockets but unnamed pairs, not even between COMMAND\'s own processes'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l env-clean -d 'Pass on only PATH, HOME, USER, the locale, the terminal and the like, AGOR_* and XDG_*, and what --env and --env-keep name'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l no-ptrace -d 'Refuse ptrace even between COMMAND\'s own processes'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l die-with-parent -d 'Kill COMMAND when the process that started it dies'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l require -d 'Fail with status 125 where anything is missing or cannot be enforced in full'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l check -d 'Look for files in read-write grants that have another name outside (hard links), and warn'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -l explain-denials -d 'Stay as a parent, and print at the end what was denied and the option that would grant it'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -s V -l version -d 'Print version'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -a "explain" -d 'Print the effective policy and what this kernel enforces of it; runs nothing'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -a "learn" -d 'Run COMMAND without file and network restrictions, observe it, and print the profile that it needs'
complete -c agor-sandbox -n "__fish_agor_sandbox_needs_command" -a "doctor" -d 'Say what this host can enforce, what is missing and how to get it'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l rw -d 'Read, write, create, remove and rename below PATH; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l rwx -d 'As --rw, and execute' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l ro -d 'Read and list below PATH; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l rox -d 'As --ro, and execute' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l protect -d 'Never let PATH be written although its parent is granted, even when it does not exist yet; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l net -d 'TCP at all: `all` (default), `ports` (only those of --connect-tcp and --bind-tcp), `none`' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l connect-tcp -d 'Connect to TCP port PORT, 0 to 65535; implies --net ports; repeatable, or several with commas' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l bind-tcp -d 'Bind TCP port PORT, 0 to 65535 (0: one of the kernel\'s choice); implies --net ports; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l unix -d 'Connect to the Unix socket PATH of a process outside; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l env -d 'Set KEY to VALUE, or pass KEY on as it is; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l env-keep -d 'Pass KEY (or `PREFIX*`) on although a filter would remove it; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l rlimit -d 'Limit a resource: nofile=1024, as=4G, nproc=200:400 (soft:hard); repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l keep-fd -d 'Leave descriptor N open; all others above 2 are closed; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l profile -d 'Start from profile NAME: default, claude, codex, aider, node, strict, or one of the configuration' -r -f
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l config -d 'Read the configuration from FILE' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l status-fd -d 'Write one JSON object about every layer to descriptor N' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l status-file -d 'Write one JSON object about every layer to FILE' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l no-protect -d 'Protect nothing and hide no files: neither what a profile names nor what is built in'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l unix-all -d 'Connect to every Unix socket that file permissions allow'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l no-unix -d 'No Unix sockets but unnamed pairs, not even between COMMAND\'s own processes'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l env-clean -d 'Pass on only PATH, HOME, USER, the locale, the terminal and the like, AGOR_* and XDG_*, and what --env and --env-keep name'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l no-ptrace -d 'Refuse ptrace even between COMMAND\'s own processes'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l die-with-parent -d 'Kill COMMAND when the process that started it dies'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l require -d 'Fail with status 125 where anything is missing or cannot be enforced in full'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l check -d 'Look for files in read-write grants that have another name outside (hard links), and warn'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -l json -d 'One JSON object instead of text'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand explain" -s h -l help -d 'Print help'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l rw -d 'Read, write, create, remove and rename below PATH; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l rwx -d 'As --rw, and execute' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l ro -d 'Read and list below PATH; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l rox -d 'As --ro, and execute' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l protect -d 'Never let PATH be written although its parent is granted, even when it does not exist yet; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l net -d 'TCP at all: `all` (default), `ports` (only those of --connect-tcp and --bind-tcp), `none`' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l connect-tcp -d 'Connect to TCP port PORT, 0 to 65535; implies --net ports; repeatable, or several with commas' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l bind-tcp -d 'Bind TCP port PORT, 0 to 65535 (0: one of the kernel\'s choice); implies --net ports; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l unix -d 'Connect to the Unix socket PATH of a process outside; repeatable' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l env -d 'Set KEY to VALUE, or pass KEY on as it is; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l env-keep -d 'Pass KEY (or `PREFIX*`) on although a filter would remove it; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l rlimit -d 'Limit a resource: nofile=1024, as=4G, nproc=200:400 (soft:hard); repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l keep-fd -d 'Leave descriptor N open; all others above 2 are closed; repeatable' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l profile -d 'Start from profile NAME: default, claude, codex, aider, node, strict, or one of the configuration' -r -f
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l config -d 'Read the configuration from FILE' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l status-fd -d 'Write one JSON object about every layer to descriptor N' -r
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l status-file -d 'Write one JSON object about every layer to FILE' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l output -d 'Write the profile to FILE instead of stdout; without it COMMAND\'s own stdout goes to stderr' -r -F
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l no-protect -d 'Protect nothing and hide no files: neither what a profile names nor what is built in'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l unix-all -d 'Connect to every Unix socket that file permissions allow'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l no-unix -d 'No Unix sockets but unnamed pairs, not even between COMMAND\'s own processes'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l env-clean -d 'Pass on only PATH, HOME, USER, the locale, the terminal and the like, AGOR_* and XDG_*, and what --env and --env-keep name'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l no-ptrace -d 'Refuse ptrace even between COMMAND\'s own processes'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l die-with-parent -d 'Kill COMMAND when the process that started it dies'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l require -d 'Fail with status 125 where anything is missing or cannot be enforced in full'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -l check -d 'Look for files in read-write grants that have another name outside (hard links), and warn'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand learn" -s h -l help -d 'Print help'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand doctor" -l json -d 'One JSON object instead of text'
complete -c agor-sandbox -n "__fish_agor_sandbox_using_subcommand doctor" -s h -l help -d 'Print help'

# What lives in the data, asked for when it is needed.
function __agor_values
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
            printf '%s\n' default claude codex aider node strict
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
complete -c agor-sandbox -l profile -x -a '(__agor_live profiles)'
complete -c agor-sandbox -n 'contains -- -- (commandline -opc)' -x -a '(__agor_after_dashes)'
complete -c agor-sandbox -n '__fish_agor_sandbox_using_subcommand explain' -l profile -x -a '(__agor_live profiles)'
complete -c agor-sandbox -n '__fish_agor_sandbox_using_subcommand learn' -l profile -x -a '(__agor_live profiles)'
