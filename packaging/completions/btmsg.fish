# Generated: make pages.
# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_btmsg_global_optspecs
    string join \n as= json h/help V/version
end

function __fish_btmsg_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_btmsg_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_btmsg_using_subcommand
    set -l cmd (__fish_btmsg_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c btmsg -n "__fish_btmsg_needs_command" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_needs_command" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c btmsg -n "__fish_btmsg_needs_command" -s V -l version -d 'Print version'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "register" -d 'Register an agent, or change what is given of one; it is active afterwards'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "unregister" -d 'Mark an agent stopped; its row and its mail stay'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "agents" -d 'List the agents and whether they can be reached'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "whoami" -d 'Say who is speaking'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "contacts" -d 'List whom an agent may write to'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "allow" -d 'Let agent A write to agent B'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "deny" -d 'Forbid agent A to write to agent B'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "graph" -d 'Show who may write to whom'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "send" -d 'Send a message'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "reply" -d 'Answer a message, in its thread'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "inbox" -d 'List unread messages, the most urgent and then the oldest first'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "read" -d 'Show a message whole and mark it read'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "history" -d 'Show the newest messages between you and an agent'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "unread" -d 'Count unread messages'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "notify" -d 'Say in one line that there is mail; nothing when there is none'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "feed" -d 'Show the newest messages of your group'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "search" -d 'Find messages by their words'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "recv" -d 'Take messages under a lease, to be acknowledged'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "ack" -d 'Acknowledge messages: they are done'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "nack" -d 'Give messages back, for another try'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "extend" -d 'Extend the lease of messages'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "channel" -d 'Channels: messages to all of their members'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "heartbeat" -d 'Say that an agent is alive'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "health" -d 'Show every agent\'s state, the one that needs attention most first'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "sweep" -d 'Move mail that cannot be delivered to the dead letter queue, and back'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "dlq" -d 'The dead letter queue'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "watch" -d 'Show messages as they arrive'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "log" -d 'Hand an event to telemetry'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "audit" -d 'Show or verify the audit trail'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "stats" -d 'Count messages, agents and dead letters'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "export" -d 'Write everything as NDJSON'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "prune" -d 'Delete read messages and audit rows that are old'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "status" -d 'Show the database, the agents and their mail at a glance'
complete -c btmsg -n "__fish_btmsg_needs_command" -f -a "doctor" -d 'Check every page of the database; exit 65 and the broken ones when it is damaged'
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l role -d 'Its role (the same as the third argument)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l group -d 'Its group (the same as the fourth argument)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l tier -d '0 reaches everyone, 1 other tier 1 agents and its own group, 2 whom it was allowed (default: by role)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l model -d 'The model behind it' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l cwd -d 'Where it works' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l stall-after -d 'Without a heartbeat for this long it counts as stalled: 5m to 60m (default 15m)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand register" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand unregister" -l reason -d 'Why' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand unregister" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand unregister" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand unregister" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand agents" -l group -d 'Only this group' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand agents" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand agents" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand agents" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand whoami" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand whoami" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand whoami" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand contacts" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand contacts" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand contacts" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand allow" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand allow" -s b -l both -d 'Both ways'
complete -c btmsg -n "__fish_btmsg_using_subcommand allow" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand allow" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand deny" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand deny" -s b -l both -d 'Both ways'
complete -c btmsg -n "__fish_btmsg_using_subcommand deny" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand deny" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand graph" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand graph" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand graph" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l to -d 'A recipient, again for several; every other argument is text then' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l thread -d 'Put it into the thread of this message' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l supersedes -d 'It replaces this message of yours to the same recipient' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l subject -d 'One line about it' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l priority -d 'Urgency: decides the place in the inbox' -r -f -a "low\t'After everything else'
normal\t'As usual'
high\t'Before normal ones'
urgent\t'Before everything else'"
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l ttl -d 'Worthless after this long: unread by then, it becomes a dead letter' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l delay -d 'Deliver after this long' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l dedup-key -d 'Send once: a repetition with the same key prints the first id, other content is refused' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l max-deliveries -d 'Dead-letter it after this many leases without an acknowledgement (default 5)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l max-size -d 'The largest body: bytes, or with K, M, G (default 1MiB)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l allow-unknown -d 'Park it for an id that nobody registered yet'
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l ndjson -d 'Read messages from stdin, a JSON object a line: to, text, subject, priority, ttl_s, delay_s, thread, reply_to, supersedes, dedup_key, max_deliveries'
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l require-online -d 'Store nothing unless every recipient can be reached now'
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l base64 -d 'The body on stdin is binary: store it base64 encoded'
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l subject -d 'One line about it' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l priority -d 'Urgency: decides the place in the inbox' -r -f -a "low\t'After everything else'
normal\t'As usual'
high\t'Before normal ones'
urgent\t'Before everything else'"
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l ttl -d 'Worthless after this long: unread by then, it becomes a dead letter' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l delay -d 'Deliver after this long' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l dedup-key -d 'Send once: a repetition with the same key prints the first id, other content is refused' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l max-deliveries -d 'Dead-letter it after this many leases without an acknowledgement (default 5)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l max-size -d 'The largest body: bytes, or with K, M, G (default 1MiB)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l ndjson -d 'Read answers from stdin, a JSON object a line: reply_to, text and what `send --ndjson` knows'
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l require-online -d 'Store nothing unless every recipient can be reached now'
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l base64 -d 'The body on stdin is binary: store it base64 encoded'
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand reply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c btmsg -n "__fish_btmsg_using_subcommand inbox" -l limit -d 'At most this many' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand inbox" -l after -d 'Go on after this message of the page before' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand inbox" -l from -d 'Only from this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand inbox" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand inbox" -l all -d 'Read messages too'
complete -c btmsg -n "__fish_btmsg_using_subcommand inbox" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand inbox" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand read" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand read" -l peek -d 'Leave it unread'
complete -c btmsg -n "__fish_btmsg_using_subcommand read" -l thread -d 'Show its whole thread'
complete -c btmsg -n "__fish_btmsg_using_subcommand read" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand read" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand history" -l limit -d 'The newest N' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand history" -l before -d 'Only what came before this message' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand history" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand history" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand history" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand unread" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand unread" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand unread" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand notify" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand notify" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand notify" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand feed" -l limit -d 'The newest N' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand feed" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand feed" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand feed" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand search" -l limit -d 'At most this many, the best first' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand search" -l from -d 'Only from this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand search" -l since -d 'Only what was sent since: 2h, or a time' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand search" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand search" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand search" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand recv" -l wait -d 'Wait this long for a message' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand recv" -l lease -d 'The lease: without an acknowledgement by then the message is available again (default 5m)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand recv" -l max -d 'At most this many' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand recv" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand recv" -l ack -d 'Acknowledge what was printed: at most one more delivery, no lease to look after'
complete -c btmsg -n "__fish_btmsg_using_subcommand recv" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand recv" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand ack" -l token -d 'The token that `recv` gave: a holder whose lease passed on to another is refused' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand ack" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand ack" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand ack" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand nack" -l token -d 'The token that `recv` gave' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand nack" -l delay -d 'Not available before this long' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand nack" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand nack" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand nack" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand extend" -l token -d 'The token that `recv` gave' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand extend" -l lease -d 'From now (default 5m)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand extend" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand extend" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand extend" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "create" -d 'Create a channel; you are its first member'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "list" -d 'List the channels'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "post" -d 'Send a message to all members'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "send" -d 'Send a message to all members'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "history" -d 'Show the newest messages'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "add" -d 'Make an agent a member'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "remove" -d 'End an agent\'s membership'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "join" -d 'Become a member'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and not __fish_seen_subcommand_from create list post send history add remove join leave" -f -a "leave" -d 'Be a member no longer'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from create" -l group -d 'Its group (default: yours)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from create" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from create" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from list" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from list" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l subject -d 'One line about it' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l priority -d 'Urgency: decides the place in the inbox' -r -f -a "low\t'After everything else'
normal\t'As usual'
high\t'Before normal ones'
urgent\t'Before everything else'"
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l ttl -d 'Worthless after this long: unread by then, it becomes a dead letter' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l delay -d 'Deliver after this long' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l dedup-key -d 'Send once: a repetition with the same key prints the first id, other content is refused' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l max-deliveries -d 'Dead-letter it after this many leases without an acknowledgement (default 5)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l max-size -d 'The largest body: bytes, or with K, M, G (default 1MiB)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l ndjson -d 'Read messages from stdin, a JSON object a line: text and what `send --ndjson` knows'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l require-online -d 'Store nothing unless every recipient can be reached now'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l base64 -d 'The body on stdin is binary: store it base64 encoded'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l subject -d 'One line about it' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l priority -d 'Urgency: decides the place in the inbox' -r -f -a "low\t'After everything else'
normal\t'As usual'
high\t'Before normal ones'
urgent\t'Before everything else'"
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l ttl -d 'Worthless after this long: unread by then, it becomes a dead letter' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l delay -d 'Deliver after this long' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l dedup-key -d 'Send once: a repetition with the same key prints the first id, other content is refused' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l max-deliveries -d 'Dead-letter it after this many leases without an acknowledgement (default 5)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l max-size -d 'The largest body: bytes, or with K, M, G (default 1MiB)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l ndjson -d 'Read messages from stdin, a JSON object a line: text and what `send --ndjson` knows'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l require-online -d 'Store nothing unless every recipient can be reached now'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l base64 -d 'The body on stdin is binary: store it base64 encoded'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from send" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from history" -l limit -d 'The newest N' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from history" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from history" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from add" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from add" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from remove" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from join" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from join" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from join" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from leave" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from leave" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from leave" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l status -d 'What it is doing' -r -f -a "busy\t'Working'
idle\t'Waiting for work'"
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l note -d 'What it is doing, in words' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l context -d 'How full its context is: 0 to 1' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l conflict -d 'A file on which it conflicts with another agent' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l review -d 'How many reviews wait for it' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l every -d 'Again and again: as long as COMMAND runs, or until it is stopped. At least 1s' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l while-pid -d 'Only while this process runs: PID:START' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l detach -d 'Start that helper and leave it alone'
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand heartbeat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c btmsg -n "__fish_btmsg_using_subcommand health" -l top -d 'Only the first N' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand health" -l watch -d 'Show it again and again, every 2s or as often as said' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand health" -l fail-at -d 'Exit 1 when an agent\'s attention score is at least this' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand health" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand health" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand health" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand sweep" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand sweep" -l dry-run -d 'Only say what would be done'
complete -c btmsg -n "__fish_btmsg_using_subcommand sweep" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand sweep" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and not __fish_seen_subcommand_from list show redrive purge" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and not __fish_seen_subcommand_from list show redrive purge" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and not __fish_seen_subcommand_from list show redrive purge" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and not __fish_seen_subcommand_from list show redrive purge" -f -a "list" -d 'List dead letters, the newest first'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and not __fish_seen_subcommand_from list show redrive purge" -f -a "show" -d 'Show one whole, with its history'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and not __fish_seen_subcommand_from list show redrive purge" -f -a "redrive" -d 'Put dead letters back into the inbox, in their old order'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and not __fish_seen_subcommand_from list show redrive purge" -f -a "purge" -d 'Delete the text of dead letters; their rows stay'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l to -d 'Only for this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l from -d 'Only from this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l reason -d 'Only with this reason: unknown_agent, offline, crashed, stalled, expired, max_deliveries, too_large, denied' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l since -d 'Only what died since: 2h, or a time' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l limit -d 'At most this many' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l waiting -d 'Only those that still wait'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from show" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from show" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l to -d 'Only for this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l from -d 'Only from this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l reason -d 'Only with this reason: unknown_agent, offline, crashed, stalled, expired, max_deliveries, too_large, denied' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l since -d 'Only what died since: 2h, or a time' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l deliver-to -d 'Into the inbox of this agent instead' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l all -d 'All that wait'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l dry-run -d 'Only say what would be done'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l to -d 'Only for this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l from -d 'Only from this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l reason -d 'Only with this reason: unknown_agent, offline, crashed, stalled, expired, max_deliveries, too_large, denied' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l since -d 'Only what died since: 2h, or a time' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l all -d 'All that wait'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l dry-run -d 'Only say what would be done'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand watch" -l max -d 'End after this many' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand watch" -l timeout -d 'End after this long' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand watch" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand watch" -l ack -d 'Mark each message read once it was printed'
complete -c btmsg -n "__fish_btmsg_using_subcommand watch" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand watch" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand log" -l source -d 'Who says so (default: the agent, else shell)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand log" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand log" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand log" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -l since -d 'Only what happened since: 2h, or a time' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -l agent -d 'Only by this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -l type -d 'Only this event: send, ack, register, …' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -l limit -d 'The newest N' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -s f -l follow -d 'Go on with rows as they are written'
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and not __fish_seen_subcommand_from verify" -f -a "verify" -d 'Recompute the hash chain; exit 1 and the first altered row when it does not hold'
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and __fish_seen_subcommand_from verify" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and __fish_seen_subcommand_from verify" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand stats" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand stats" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand stats" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand export" -l since -d 'Only what was sent, died or happened since: 7d, or a time' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand export" -l only -d 'Only this kind' -r -f -a "agents\t'agents'
messages\t'messages'
dead-letters\t'dead letters'
audit\t'the audit trail'
channels\t'channels, their members and messages'"
complete -c btmsg -n "__fish_btmsg_using_subcommand export" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand export" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c btmsg -n "__fish_btmsg_using_subcommand prune" -l older-than -d 'Keep what is younger (default 30d)' -r
complete -c btmsg -n "__fish_btmsg_using_subcommand prune" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand prune" -l dry-run -d 'Only say what would be done'
complete -c btmsg -n "__fish_btmsg_using_subcommand prune" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand prune" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand status" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand status" -l check -d 'Check every page of the database; exit 65 and the broken ones when it is damaged'
complete -c btmsg -n "__fish_btmsg_using_subcommand status" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand status" -s h -l help -d 'Print help'
complete -c btmsg -n "__fish_btmsg_using_subcommand doctor" -l as -d 'Speak as this agent' -r -f
complete -c btmsg -n "__fish_btmsg_using_subcommand doctor" -l json -d 'Print JSON: one object, or one object a line for a stream'
complete -c btmsg -n "__fish_btmsg_using_subcommand doctor" -s h -l help -d 'Print help'

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
complete -c btmsg -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand register' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand unregister' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand unregister' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand agents' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand whoami' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand contacts' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand contacts' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand allow' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand allow' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand allow' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand deny' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand deny' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand deny' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand graph' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand send' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand send' -l to -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand send' -l thread -x -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand send' -l supersedes -x -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand send' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand reply' -f -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand reply' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand inbox' -l after -x -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand inbox' -l from -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand inbox' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand read' -f -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand read' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand history' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand history' -l before -x -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand history' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand unread' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand notify' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand feed' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand search' -l from -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand search' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand recv' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand ack' -f -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand ack' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand nack' -f -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand nack' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand extend' -f -a '(__agor_live messages)'
complete -c btmsg -n '__fish_btmsg_using_subcommand extend' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from create' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from list' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post' -f -a '(__agor_live channels)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from post' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from history' -f -a '(__agor_live channels)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from history' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from add' -f -a '(__agor_live channels)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from add' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from add' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from remove' -f -a '(__agor_live channels)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from remove' -f -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from remove' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from join' -f -a '(__agor_live channels)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from join' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from leave' -f -a '(__agor_live channels)'
complete -c btmsg -n '__fish_btmsg_using_subcommand channel; and __fish_seen_subcommand_from leave' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand heartbeat' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand health' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand sweep' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list' -l to -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list' -l from -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from list' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from show' -f -a '(__agor_live letters)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from show' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive' -f -a '(__agor_live letters)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive' -l to -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive' -l from -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive' -l deliver-to -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from redrive' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge' -f -a '(__agor_live letters)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge' -l to -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge' -l from -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand dlq; and __fish_seen_subcommand_from purge' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand watch' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand log' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand audit' -l agent -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand audit' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand audit; and __fish_seen_subcommand_from verify' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand stats' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand export' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand prune' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand status' -l as -x -a '(__agor_live agents)'
complete -c btmsg -n '__fish_btmsg_using_subcommand doctor' -l as -x -a '(__agor_live agents)'
