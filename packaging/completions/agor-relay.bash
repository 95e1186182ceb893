# Generated: make pages. shellcheck shell=bash disable=all
_agor__relay() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="agor__relay"
                ;;
            agor__relay,cert)
                cmd="agor__relay__subcmd__cert"
                ;;
            agor__relay,connect)
                cmd="agor__relay__subcmd__connect"
                ;;
            agor__relay,pin)
                cmd="agor__relay__subcmd__pin"
                ;;
            agor__relay,token)
                cmd="agor__relay__subcmd__token"
                ;;
            agor__relay__subcmd__cert,new)
                cmd="agor__relay__subcmd__cert__subcmd__new"
                ;;
            agor__relay__subcmd__token,hash)
                cmd="agor__relay__subcmd__token__subcmd__hash"
                ;;
            agor__relay__subcmd__token,new)
                cmd="agor__relay__subcmd__token__subcmd__new"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        agor__relay)
            opts="-h -V --port --listen --port-file --insecure --tls-cert --tls-key --tls-min --client-ca --token-file --token-fd --token --allow-origin --allow-exec --config --alone --alone-after --ring --spill --hold --stall --handshake-timeout --max-message --max-connections --max-pending --max-sessions --write-buffer --write-timeout --ping --max-failures --lockout --drain --help --version connect token pin cert"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --port)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --port-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls-cert)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls-key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls-min)
                    COMPREPLY=($(compgen -W "1.2 1.3" -- "${cur}"))
                    return 0
                    ;;
                --client-ca)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --token-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --token-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --token)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --allow-origin)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --alone)
                    COMPREPLY=($(compgen -W "keep stop pause" -- "${cur}"))
                    return 0
                    ;;
                --alone-after)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ring)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --spill)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --hold)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stall)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --handshake-timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-message)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-connections)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-pending)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-sessions)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --write-buffer)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --write-timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ping)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-failures)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --lockout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --drain)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        agor__subcmd__relay__subcmd__cert)
            opts="-h --help new"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        agor__subcmd__relay__subcmd__cert__subcmd__new)
            opts="-h --name --days --cert --key --force --keep-key --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --name)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --days)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --cert)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        agor__subcmd__relay__subcmd__connect)
            opts="-h --token-file --token-fd --token --pin --tofu --ca --cert --key --insecure --session --observe --start --take --from --state --events --linger --replies --eof --retry --ping --timeout --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --token-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --token-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --token)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --pin)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ca)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --cert)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --session)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --state)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --linger)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --replies)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --retry)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ping)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        agor__subcmd__relay__subcmd__pin)
            opts="-h --json --timeout --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        agor__subcmd__relay__subcmd__token)
            opts="-h --help new hash"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        agor__subcmd__relay__subcmd__token__subcmd__hash)
            opts="-h --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        agor__subcmd__relay__subcmd__token__subcmd__new)
            opts="-h --out --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --out)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

# What lives in the data: agents, sessions, profiles and the like, asked for when they are needed.
_agor_values() { # _agor_values KEY COMMAND…: the values of KEY in its JSON; says nothing when it fails
    local key=$1
    shift
    timeout 2 "$@" </dev/null 2>/dev/null | grep -oE "\"$key\":(\"[^\"\\\\]*\"|[0-9]+)" |
        sed 's/^[^:]*://; s/"//g' | sort -u
}
_agor_profiles() { # the built-in ones, then those of the first configuration file that is there
    printf '%s\n' default claude codex aider node strict
    local file
    for file in "${AGOR_CONFIG:-${XDG_CONFIG_HOME:-$HOME/.config}/agor/agor.toml}" /etc/agor/agor.toml; do
        [ -r "$file" ] || continue
        sed -n 's/^[[:space:]]*\[sandbox\.profile\.["'\'']\{0,1\}\([^]."'\'']*\).*/\1/p' "$file" | sort -u
        break
    done
}
_agor_live() { # _agor_live KIND: one candidate a line, from the data of this moment
    case $1 in
    agents) _agor_values id btmsg agents --json ;;
    channels) _agor_values name btmsg channel list --json ;;
    letters) _agor_values id btmsg dlq list --json ;;
    messages) _agor_values id btmsg inbox --json ;;
    sessions) _agor_values name agor-supervise list --json ;;
    profiles) _agor_profiles ;;
    esac
}

_agor_complete_agor_relay_subcommands() {
    case $1 in
    'agor-relay') echo 'connect token pin cert' ;;
    'agor-relay connect') echo '' ;;
    'agor-relay token') echo 'new hash' ;;
    'agor-relay token new') echo '' ;;
    'agor-relay token hash') echo '' ;;
    'agor-relay pin') echo '' ;;
    'agor-relay cert') echo 'new' ;;
    'agor-relay cert new') echo '' ;;
    esac
}
_agor_complete_agor_relay_valued() {
    case $1 in
    'agor-relay') echo '--port --listen --port-file --tls-cert --tls-key --tls-min --client-ca --token-file --token-fd --token --allow-origin --config --alone --alone-after --ring --spill --hold --stall --handshake-timeout --max-message --max-connections --max-pending --max-sessions --write-buffer --write-timeout --ping --max-failures --lockout --drain' ;;
    'agor-relay connect') echo '--token-file --token-fd --token --pin --ca --cert --key --session --from --state --linger --replies --retry --ping --timeout' ;;
    'agor-relay token') echo '' ;;
    'agor-relay token new') echo '--out' ;;
    'agor-relay token hash') echo '' ;;
    'agor-relay pin') echo '--timeout' ;;
    'agor-relay cert') echo '' ;;
    'agor-relay cert new') echo '--name --days --cert --key' ;;
    esac
}
_agor_complete_agor_relay_kind() { # of an option or of the positional with that index
    case $1 in
    esac
}
_agor_complete_agor_relay() {
    local cur=$2 last=$((COMP_CWORD - 1)) path=agor-relay index=0 value='' kind='' word i line
    # bash splits --option=value at the sign.
    [ "${COMP_WORDS[COMP_CWORD]}" != '=' ] || cur=''
    for ((i = 1; i <= last; i++)); do
        word=${COMP_WORDS[i]}
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
        -*) case " $(_agor_complete_agor_relay_valued "$path") " in *" $word "*) value=$word ;; esac ;;
        *)
            case " $(_agor_complete_agor_relay_subcommands "$path") " in
            *" $word "*) path="$path $word" index=0 ;;
            *) index=$((index + 1)) ;;
            esac
            ;;
        esac
    done
    if [ -n "$value" ]; then
        kind=$(_agor_complete_agor_relay_kind "$path $value")
    elif [[ $cur != -* ]]; then
        kind=$(_agor_complete_agor_relay_kind "$path $index")
    fi
    if [ -z "$kind" ]; then
        _agor__relay "$@"
        return
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        [[ $line != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_agor_live "$kind")
}
complete -F _agor_complete_agor_relay -o bashdefault -o default agor-relay
