# Generated: make pages.
# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_agor_relay_global_optspecs
    string join \n port= listen= port-file= insecure tls-cert= tls-key= tls-min= client-ca= token-file= token-fd= token= allow-origin= allow-exec config= alone= alone-after= ring= spill= hold= stall= handshake-timeout= max-message= max-connections= max-pending= max-sessions= write-buffer= write-timeout= ping= max-failures= lockout= drain= h/help V/version
end

function __fish_agor_relay_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_agor_relay_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_agor_relay_using_subcommand
    set -l cmd (__fish_agor_relay_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c agor-relay -n "__fish_agor_relay_needs_command" -l port -d 'TCP port to listen on; 0 takes a free one (see --port-file) [env: AGOR_RELAY_PORT]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l listen -d 'Address to listen on [default: :: and 0.0.0.0 with TLS, loopback with --insecure] [env: AGOR_RELAY_LISTEN]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l port-file -d 'Write the actual port as a decimal line into FILE (made anew, atomically; a pipe is written to) once listening' -r -F
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l tls-cert -d 'Certificate chain (PEM); re-read on SIGHUP [env: AGOR_RELAY_TLS_CERT]' -r -F
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l tls-key -d 'Private key of the certificate (PEM: PKCS#8, PKCS#1 or SEC1) [env: AGOR_RELAY_TLS_KEY]' -r -F
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l tls-min -d 'Lowest TLS version accepted [default: 1.3]' -r -f -a "1.2\t'TLS 1.2 and 1.3'
1.3\t'TLS 1.3 only'"
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l client-ca -d 'Demand a client certificate that this CA (PEM) has signed' -r -F
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l token-file -d 'File that holds the bearer token; - is stdin (server only) [env: AGOR_RELAY_TOKEN_FILE]' -r -F
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l token-fd -d 'Inherited descriptor to read the bearer token from' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l token -d 'The bearer token itself; discouraged, since ps shows it' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l allow-origin -d 'Browser origin that may connect (repeatable); any other Origin header is refused' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l config -d 'Configuration file instead of the usual one' -r -F
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l alone -d 'Once the last controller, an attached client that writes, has been gone for --alone-after [default: keep]' -r -f -a "keep\t'The session runs on'
stop\t'The session is stopped'
pause\t'The session is paused with SIGSTOP until a controller is back'"
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l alone-after -d 'How long before --alone acts [default: 60s]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l ring -d 'Replay buffer in memory, per session (bytes; K, M, G) [default: 4M]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l spill -d 'Spill what leaves the replay buffer into a file of at most SIZE per session' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l hold -d 'How long a session waits for a writer that lost its connection before it drops output [default: 60s]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l stall -d 'How long a session waits for a connected writer that takes no output [default: 5s]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l handshake-timeout -d 'TLS and HTTP handshake together [default: 10s]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l max-message -d 'Largest message from a client (bytes; K, M) [default: 1M]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l max-connections -d 'Connections at one time [default: 1000]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l max-pending -d 'Connections that have not authenticated yet, at one time [default: 256]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l max-sessions -d 'Sessions at one time [default: 64]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l write-buffer -d 'Bytes waiting for one client before it is no longer read from (bytes; K, M) [default: 256K]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l write-timeout -d 'Cut a client that has taken nothing for this long while something waits for it [default: 30s]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l ping -d 'Ping interval; a peer that is silent for two of them is cut [default: 20s]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l max-failures -d 'Failed logins from one address before it gets 429 [default: 10]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l lockout -d 'How long an address gets 429 [default: 5m]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l drain -d 'Time for sessions and connections to end after SIGTERM [default: 8s, at most 9s]' -r
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l insecure -d 'Serve plain ws:// without TLS: on loopback only, unless --listen names another address too'
complete -c agor-relay -n "__fish_agor_relay_needs_command" -l allow-exec -d 'Let tokens of scope exec name their own commands'
complete -c agor-relay -n "__fish_agor_relay_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c agor-relay -n "__fish_agor_relay_needs_command" -s V -l version -d 'Print version'
complete -c agor-relay -n "__fish_agor_relay_needs_command" -a "connect" -d 'Connect to a relay: stdin goes to the session, its stdout and stderr come back'
complete -c agor-relay -n "__fish_agor_relay_needs_command" -a "token" -d 'Make or hash a bearer token'
complete -c agor-relay -n "__fish_agor_relay_needs_command" -a "pin" -d 'Print the SPKI pin (sha256//…) of a certificate file or of a running server'
complete -c agor-relay -n "__fish_agor_relay_needs_command" -a "cert" -d 'Make a self-signed certificate'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l token-file -d 'File that holds the bearer token; - is stdin (server only) [env: AGOR_RELAY_TOKEN_FILE]' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l token-fd -d 'Inherited descriptor to read the bearer token from' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l token -d 'The bearer token itself; discouraged, since ps shows it' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l pin -d 'Pin of the server\'s public key, sha256//BASE64 (repeatable: one match is enough)' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l ca -d 'CA certificates (PEM) instead of the system\'s' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l cert -d 'Client certificate (PEM), where the relay demands one' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l key -d 'Private key of the client certificate (PEM)' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l session -d 'Session to bridge' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l from -d 'Where to begin: now, start, or a sequence number' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l state -d 'Remember in FILE what was received, so that the next connect with it goes on from there' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l linger -d 'After stdin ended: how long without output before the connection is closed; `forever` waits for the session to end' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l replies -d 'End with success as soon as N lines of stdout have come; 124 if --linger runs out first' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l retry -d 'Keep trying for this long after a connection is lost; 0 never tries again' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l ping -d 'Ping interval, 100ms to 1h; a relay that is silent for two of them counts as lost' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l timeout -d 'Time for one attempt to connect, handshakes included' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l tofu -d 'Trust the key seen first and remember it in known_relays; a changed key is refused'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l insecure -d 'Allow ws://, which sends the token in clear'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l observe -d 'Watch only: stdin is not read, the session is not written to'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l start -d 'Start the session again if its process has ended'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l take -d 'Become the writer although another client is'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l events -d 'Print events as JSON instead of the session\'s bytes'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -l eof -d 'Pass the end of stdin on to the session and end when it does, with its status'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand connect" -s h -l help -d 'Print help'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and not __fish_seen_subcommand_from new hash" -s h -l help -d 'Print help'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and not __fish_seen_subcommand_from new hash" -f -a "new" -d 'Print a new token of 256 random bits'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and not __fish_seen_subcommand_from new hash" -f -a "hash" -d 'Print the hash of a token, for [relay.token.NAME]'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and __fish_seen_subcommand_from new" -l out -d 'Write it into FILE (mode 0600, which must not exist yet) instead of stdout' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and __fish_seen_subcommand_from new" -l json -d 'Print one JSON object'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and __fish_seen_subcommand_from hash" -l json -d 'Print one JSON object'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand token; and __fish_seen_subcommand_from hash" -s h -l help -d 'Print help'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand pin" -l timeout -d 'Time for the connection' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand pin" -l json -d 'Print one JSON object'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand pin" -s h -l help -d 'Print help'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and not __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and not __fish_seen_subcommand_from new" -f -a "new" -d 'Write cert.pem and key.pem (mode 0600) and print the pin'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -l name -d 'Name or address that the certificate is for (repeatable)' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -l days -d 'Days that it is valid, 1 to 3650' -r
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -l cert -d 'Certificate file' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -l key -d 'Key file' -r -F
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -l force -d 'Replace existing files'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -l keep-key -d 'Keep the key of --key and make only a new certificate, so that pins stay valid'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -l json -d 'Print one JSON object'
complete -c agor-relay -n "__fish_agor_relay_using_subcommand cert; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'

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
complete -c agor-relay -n 'contains -- -- (commandline -opc)' -x -a '(__agor_after_dashes)'
