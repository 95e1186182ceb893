# Generated: make pages.
# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_agor_supervise_global_optspecs
    string join \n name= agent= max-attempts= backoff-base= backoff-cap= jitter= jitter-seed= stable-after= restart= success-codes= no-retry-codes= stop-grace= hold failed-exit= isolate= ready= ready-timeout= watchdog= stall-after= on-stall= heartbeat= on-event= log-dir= log-max-size= log-keep= observe stderr= config= h/help V/version
end

function __fish_agor_supervise_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_agor_supervise_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_agor_supervise_using_subcommand
    set -l cmd (__fish_agor_supervise_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l name -d 'Name under which it can be asked for; at most one supervisor has it [default: the agent\'s id, or the command\'s name and the supervisor\'s pid]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l agent -d 'The btmsg agent that it is: BTMSG_AGENT_ID is set for it, and the agent is marked crashed or stopped in btmsg.db when it is' -r -f
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l max-attempts -d 'Restarts in a row before it is given up; 0 means never [default: 5]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l backoff-base -d 'Delay before the first restart, doubled for each further one [default: 1s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l backoff-cap -d 'No delay is longer than this [default: 30s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l jitter -d 'Spread each delay evenly over delay x (1 - FRACTION) to delay x (1 + FRACTION), 0 to 1 [default: 0]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l jitter-seed -d 'Seed of the jitter, to repeat a schedule, which explain then shows [default: random]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l stable-after -d 'A run this long sets the count of attempts back, when it is reached [default: 300s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l restart -d 'Which exits are answered with a restart [default: on-failure]' -r -f -a "on-failure\t'Exits that are not a success'
always\t'Every exit'
never\t'None'"
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l success-codes -d 'Exit statuses that are a success; 128 + n stands for signal n [default: 0]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l no-retry-codes -d 'Exit statuses after which another try is pointless [default: 78]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l stop-grace -d 'From SIGTERM to SIGKILL [default: 10s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l failed-exit -d 'Exit with this status when it is given up, instead of the command\'s own' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l isolate -d 'How to make sure that nothing of it survives [default: auto]' -r -f -a "auto\t'A cgroup where one is delegated, else a keeper'
keeper\t'A subreaper process between supervisor and command'
cgroup\t'And a cgroup'
pid\t'And a PID namespace with its own /proc: process ids differ inside'"
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l ready -d 'When the command is up: at once, or when it sends READY=1 to NOTIFY_SOCKET [default: exec]' -r -f -a "exec\t'When it runs its program'
notify\t'When it says so'"
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l ready-timeout -d 'With --ready notify: READY=1 must come within this time [default: no limit]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l watchdog -d 'The command sends WATCHDOG=1 to NOTIFY_SOCKET at least this often, or is started anew' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l stall-after -d 'Neither output nor heartbeat for this long is a stall; its stdout goes through a pipe then' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l on-stall -d 'What to do on a stall [default: restart]' -r -f -a "restart\t'End it, which counts as a failure'
report\t'Say so'"
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l heartbeat -d 'Send the agent\'s heartbeat this often while the command makes progress (output, READY=1, WATCHDOG=1 or STATUS=); its stdout goes through a pipe then' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l on-event -d 'Run this shell command for every event, with the event as JSON on its stdin' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l log-dir -d 'Also write stdout and stderr to NAME.out.log and NAME.err.log in this directory' -r -F
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l log-max-size -d 'Rotate a log file when it has this many bytes (K, M and G are understood); 0 means never [default: 10M]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l log-keep -d 'Rotated log files to keep [default: 5]' -r
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l stderr -d 'Whether stderr goes through a pipe, so that its last lines are kept as last_error; auto means unless it is a terminal [default: auto]' -r -f -a "auto\t'Unless it is a terminal'
capture\t'Always'
inherit\t'Never'"
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l config -d 'Configuration file, instead of the usual ones' -r -F
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l hold -d 'When it is given up stay, failed, and wait for `restart` or `stop`'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -l observe -d 'Pass stdout through a pipe and observe it: a partial last line is ended before the next incarnation writes'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -s V -l version -d 'Print version'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "status" -d 'Show how a supervised command is'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "list" -d 'List all supervised commands, running or not'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "history" -d 'Show the incarnations of a command, newest first'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "restart" -d 'Start it anew now, also out of backoff, and out of failed with --hold'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "stop" -d 'Stop it and its supervisor'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "kill" -d 'Send it a signal'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "reset" -d 'Set its count of failed attempts back to zero'
complete -c agor-supervise -n "__fish_agor_supervise_needs_command" -a "explain" -d 'Show the delays before each attempt and the total time until it is given up'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand status" -l wait -d 'Wait until it is like this' -r -f -a "healthy\t'Up, and READY where that was asked for'
restarting\t'Waiting for, or in, another attempt'
failed\t'Given up'
stopped\t'Ended as asked or with success'"
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand status" -l timeout -d 'With --wait: for this long; then exit with 124 [default: no limit]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand status" -l json -d 'One JSON object; NDJSON for several'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand list" -l json -d 'NDJSON, an object for each'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand list" -s h -l help -d 'Print help'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand history" -s n -l limit -d 'The newest N' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand history" -l json -d 'NDJSON, an object for each'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand history" -s h -l help -d 'Print help'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand restart" -l timeout -d 'Give up waiting after this long, with exit 124' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand restart" -l no-wait -d 'Do not wait for the effect, only until the supervisor has taken the order'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand restart" -l json -d 'Print the result as JSON'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand stop" -l timeout -d 'Give up waiting after this long, with exit 124' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand stop" -l no-wait -d 'Do not wait for the effect, only until the supervisor has taken the order'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand stop" -l json -d 'Print the result as JSON'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand kill" -l json -d 'Print the result as JSON'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand kill" -s h -l help -d 'Print help'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand reset" -l timeout -d 'Give up waiting after this long, with exit 124' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand reset" -l no-wait -d 'Do not wait for the effect, only until the supervisor has taken the order'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand reset" -l json -d 'Print the result as JSON'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand reset" -s h -l help -d 'Print help'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l max-attempts -d 'Restarts in a row before it is given up; 0 means never [default: 5]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l backoff-base -d 'Delay before the first restart, doubled for each further one [default: 1s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l backoff-cap -d 'No delay is longer than this [default: 30s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l jitter -d 'Spread each delay evenly over delay x (1 - FRACTION) to delay x (1 + FRACTION), 0 to 1 [default: 0]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l jitter-seed -d 'Seed of the jitter, to repeat a schedule, which explain then shows [default: random]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l stable-after -d 'A run this long sets the count of attempts back, when it is reached [default: 300s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l restart -d 'Which exits are answered with a restart [default: on-failure]' -r -f -a "on-failure\t'Exits that are not a success'
always\t'Every exit'
never\t'None'"
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l success-codes -d 'Exit statuses that are a success; 128 + n stands for signal n [default: 0]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l no-retry-codes -d 'Exit statuses after which another try is pointless [default: 78]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l stop-grace -d 'From SIGTERM to SIGKILL [default: 10s]' -r
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l config -d 'Configuration file, instead of the usual ones' -r -F
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -l json -d 'One JSON object'
complete -c agor-supervise -n "__fish_agor_supervise_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'

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
complete -c agor-supervise -l agent -x -a '(__agor_live agents)'
complete -c agor-supervise -n 'contains -- -- (commandline -opc)' -x -a '(__agor_after_dashes)'
complete -c agor-supervise -n '__fish_agor_supervise_using_subcommand status' -f -a '(__agor_live sessions)'
complete -c agor-supervise -n '__fish_agor_supervise_using_subcommand history' -f -a '(__agor_live sessions)'
complete -c agor-supervise -n '__fish_agor_supervise_using_subcommand restart' -f -a '(__agor_live sessions)'
complete -c agor-supervise -n '__fish_agor_supervise_using_subcommand stop' -f -a '(__agor_live sessions)'
complete -c agor-supervise -n '__fish_agor_supervise_using_subcommand kill' -f -a '(__agor_live sessions)'
complete -c agor-supervise -n '__fish_agor_supervise_using_subcommand reset' -f -a '(__agor_live sessions)'
