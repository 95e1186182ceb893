# Generated: make pages. shellcheck shell=bash disable=all
_agor__supervise() {
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
                cmd="agor__supervise"
                ;;
            agor__supervise,explain)
                cmd="agor__supervise__subcmd__explain"
                ;;
            agor__supervise,history)
                cmd="agor__supervise__subcmd__history"
                ;;
            agor__supervise,kill)
                cmd="agor__supervise__subcmd__kill"
                ;;
            agor__supervise,list)
                cmd="agor__supervise__subcmd__list"
                ;;
            agor__supervise,reset)
                cmd="agor__supervise__subcmd__reset"
                ;;
            agor__supervise,restart)
                cmd="agor__supervise__subcmd__restart"
                ;;
            agor__supervise,status)
                cmd="agor__supervise__subcmd__status"
                ;;
            agor__supervise,stop)
                cmd="agor__supervise__subcmd__stop"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        agor__supervise)
            opts="-h -V --name --agent --max-attempts --backoff-base --backoff-cap --jitter --jitter-seed --stable-after --restart --success-codes --no-retry-codes --stop-grace --hold --failed-exit --isolate --ready --ready-timeout --watchdog --stall-after --on-stall --heartbeat --on-event --log-dir --log-max-size --log-keep --observe --stderr --config --help --version status list history restart stop kill reset explain"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --name)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --agent)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --backoff-base)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --backoff-cap)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --jitter)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --jitter-seed)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stable-after)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --restart)
                    COMPREPLY=($(compgen -W "on-failure always never" -- "${cur}"))
                    return 0
                    ;;
                --success-codes)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --no-retry-codes)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stop-grace)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --failed-exit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --isolate)
                    COMPREPLY=($(compgen -W "auto keeper cgroup pid" -- "${cur}"))
                    return 0
                    ;;
                --ready)
                    COMPREPLY=($(compgen -W "exec notify" -- "${cur}"))
                    return 0
                    ;;
                --ready-timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --watchdog)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stall-after)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --on-stall)
                    COMPREPLY=($(compgen -W "restart report" -- "${cur}"))
                    return 0
                    ;;
                --heartbeat)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --on-event)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log-max-size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log-keep)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stderr)
                    COMPREPLY=($(compgen -W "auto capture inherit" -- "${cur}"))
                    return 0
                    ;;
                --config)
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
        agor__subcmd__supervise__subcmd__explain)
            opts="-h --max-attempts --backoff-base --backoff-cap --jitter --jitter-seed --stable-after --restart --success-codes --no-retry-codes --stop-grace --config --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --max-attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --backoff-base)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --backoff-cap)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --jitter)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --jitter-seed)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stable-after)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --restart)
                    COMPREPLY=($(compgen -W "on-failure always never" -- "${cur}"))
                    return 0
                    ;;
                --success-codes)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --no-retry-codes)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stop-grace)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
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
        agor__subcmd__supervise__subcmd__history)
            opts="-n -h --limit --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -n)
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
        agor__subcmd__supervise__subcmd__kill)
            opts="-h --json --help"
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
        agor__subcmd__supervise__subcmd__list)
            opts="-h --json --help"
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
        agor__subcmd__supervise__subcmd__reset)
            opts="-h --timeout --no-wait --json --help"
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
        agor__subcmd__supervise__subcmd__restart)
            opts="-h --timeout --no-wait --json --help"
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
        agor__subcmd__supervise__subcmd__status)
            opts="-h --json --wait --timeout --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --wait)
                    COMPREPLY=($(compgen -W "healthy restarting failed stopped" -- "${cur}"))
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
        agor__subcmd__supervise__subcmd__stop)
            opts="-h --timeout --no-wait --json --help"
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

_agor_complete_agor_supervise_subcommands() {
    case $1 in
    'agor-supervise') echo 'status list history restart stop kill reset explain' ;;
    'agor-supervise status') echo '' ;;
    'agor-supervise list') echo '' ;;
    'agor-supervise history') echo '' ;;
    'agor-supervise restart') echo '' ;;
    'agor-supervise stop') echo '' ;;
    'agor-supervise kill') echo '' ;;
    'agor-supervise reset') echo '' ;;
    'agor-supervise explain') echo '' ;;
    esac
}
_agor_complete_agor_supervise_valued() {
    case $1 in
    'agor-supervise') echo '--name --agent --max-attempts --backoff-base --backoff-cap --jitter --jitter-seed --stable-after --restart --success-codes --no-retry-codes --stop-grace --failed-exit --isolate --ready --ready-timeout --watchdog --stall-after --on-stall --heartbeat --on-event --log-dir --log-max-size --log-keep --stderr --config' ;;
    'agor-supervise status') echo '--wait --timeout' ;;
    'agor-supervise list') echo '' ;;
    'agor-supervise history') echo '-n --limit' ;;
    'agor-supervise restart') echo '--timeout' ;;
    'agor-supervise stop') echo '--timeout' ;;
    'agor-supervise kill') echo '' ;;
    'agor-supervise reset') echo '--timeout' ;;
    'agor-supervise explain') echo '--max-attempts --backoff-base --backoff-cap --jitter --jitter-seed --stable-after --restart --success-codes --no-retry-codes --stop-grace --config' ;;
    esac
}
_agor_complete_agor_supervise_kind() { # of an option or of the positional with that index
    case $1 in
    'agor-supervise --agent') echo agents ;;
    'agor-supervise status 0') echo sessions ;;
    'agor-supervise history 0') echo sessions ;;
    'agor-supervise restart 0') echo sessions ;;
    'agor-supervise stop 0') echo sessions ;;
    'agor-supervise kill 0') echo sessions ;;
    'agor-supervise reset 0') echo sessions ;;
    esac
}
_agor_complete_agor_supervise() {
    local cur=$2 last=$((COMP_CWORD - 1)) path=agor-supervise index=0 value='' kind='' word i line
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
        -*) case " $(_agor_complete_agor_supervise_valued "$path") " in *" $word "*) value=$word ;; esac ;;
        *)
            case " $(_agor_complete_agor_supervise_subcommands "$path") " in
            *" $word "*) path="$path $word" index=0 ;;
            *) index=$((index + 1)) ;;
            esac
            ;;
        esac
    done
    if [ -n "$value" ]; then
        kind=$(_agor_complete_agor_supervise_kind "$path $value")
    elif [[ $cur != -* ]]; then
        kind=$(_agor_complete_agor_supervise_kind "$path $index")
    fi
    if [ -z "$kind" ]; then
        _agor__supervise "$@"
        return
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        [[ $line != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_agor_live "$kind")
}
complete -F _agor_complete_agor_supervise -o bashdefault -o default agor-supervise
