# Generated: make pages.
# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_agor_checkpoint_global_optspecs
    string join \n interval= mode= stall-budget= deadline= wal-max= any-filesystem json q/quiet h/help V/version
end

function __fish_agor_checkpoint_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_agor_checkpoint_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_agor_checkpoint_using_subcommand
    set -l cmd (__fish_agor_checkpoint_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -l interval -d 'Stay, and do a pass every DURATION (at least 100ms): the first at once, the last on TERM' -r
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -l mode -d 'What a pass does: auto empties the WAL but only copies where Litestream is at work, truncate always empties it, passive only copies [default: auto] [env: AGOR_CHECKPOINT_MODE]' -r -f -a "auto\t'Truncate, but passive where Litestream replicates the database'
truncate\t'Copy, then empty the WAL'
passive\t'Copy only'"
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -l stall-budget -d 'How long a writer may be kept waiting at most (10ms to 10s) [default: 250ms] [env: AGOR_CHECKPOINT_STALL_BUDGET]' -r
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -l deadline -d 'How long to go on trying when someone is in the way, for each database (up to 1h) [default: 5s] [env: AGOR_CHECKPOINT_DEADLINE]' -r
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -l wal-max -d 'With --interval: start a pass also when a WAL grows past SIZE (at least 64KiB; B, KiB, MiB, GiB) [env: AGOR_CHECKPOINT_WAL_MAX]' -r
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -l any-filesystem -d 'Go ahead on a network file system, or on overlayfs without a warning: only right when every process that uses the database runs on this machine [env: AGOR_ANY_FILESYSTEM]'
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -l json -d 'One JSON object per database on stdout'
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -s q -l quiet -d 'Print only what did not end well (for cron)'
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -s V -l version -d 'Print version'
complete -c agor-checkpoint -n "__fish_agor_checkpoint_needs_command" -a "status" -d 'Show the sizes and who is in the way; changes nothing, and opens no database'
complete -c agor-checkpoint -n "__fish_agor_checkpoint_using_subcommand status" -l json -d 'One JSON object per database on stdout'
complete -c agor-checkpoint -n "__fish_agor_checkpoint_using_subcommand status" -s h -l help -d 'Print help'

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
