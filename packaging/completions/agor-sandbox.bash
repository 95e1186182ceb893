# Generated: make pages. shellcheck shell=bash disable=all
_agor__sandbox() {
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
                cmd="agor__sandbox"
                ;;
            agor__sandbox,doctor)
                cmd="agor__sandbox__subcmd__doctor"
                ;;
            agor__sandbox,explain)
                cmd="agor__sandbox__subcmd__explain"
                ;;
            agor__sandbox,learn)
                cmd="agor__sandbox__subcmd__learn"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        agor__sandbox)
            opts="-h -V --rw --rwx --ro --rox --protect --no-protect --net --connect-tcp --bind-tcp --unix --unix-all --no-unix --env --env-keep --env-clean --rlimit --keep-fd --no-ptrace --die-with-parent --profile --config --require --check --status-fd --status-file --explain-denials --help --version explain learn doctor"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --rw)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rwx)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ro)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rox)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --protect)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --net)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --connect-tcp)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --bind-tcp)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --unix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env-keep)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rlimit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --keep-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --profile)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --status-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --status-file)
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
        agor__subcmd__sandbox__subcmd__doctor)
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
        agor__subcmd__sandbox__subcmd__explain)
            opts="-h --rw --rwx --ro --rox --protect --no-protect --net --connect-tcp --bind-tcp --unix --unix-all --no-unix --env --env-keep --env-clean --rlimit --keep-fd --no-ptrace --die-with-parent --profile --config --require --check --status-fd --status-file --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --rw)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rwx)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ro)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rox)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --protect)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --net)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --connect-tcp)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --bind-tcp)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --unix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env-keep)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rlimit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --keep-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --profile)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --status-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --status-file)
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
        agor__subcmd__sandbox__subcmd__learn)
            opts="-h --rw --rwx --ro --rox --protect --no-protect --net --connect-tcp --bind-tcp --unix --unix-all --no-unix --env --env-keep --env-clean --rlimit --keep-fd --no-ptrace --die-with-parent --profile --config --require --check --status-fd --status-file --output --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --rw)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rwx)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ro)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rox)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --protect)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --net)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --connect-tcp)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --bind-tcp)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --unix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env-keep)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rlimit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --keep-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --profile)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --status-fd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --status-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --output)
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

_agor_complete_agor_sandbox_subcommands() {
    case $1 in
    'agor-sandbox') echo 'explain learn doctor' ;;
    'agor-sandbox explain') echo '' ;;
    'agor-sandbox learn') echo '' ;;
    'agor-sandbox doctor') echo '' ;;
    esac
}
_agor_complete_agor_sandbox_valued() {
    case $1 in
    'agor-sandbox') echo '--rw --rwx --ro --rox --protect --net --connect-tcp --bind-tcp --unix --env --env-keep --rlimit --keep-fd --profile --config --status-fd --status-file' ;;
    'agor-sandbox explain') echo '--rw --rwx --ro --rox --protect --net --connect-tcp --bind-tcp --unix --env --env-keep --rlimit --keep-fd --profile --config --status-fd --status-file' ;;
    'agor-sandbox learn') echo '--rw --rwx --ro --rox --protect --net --connect-tcp --bind-tcp --unix --env --env-keep --rlimit --keep-fd --profile --config --status-fd --status-file --output' ;;
    'agor-sandbox doctor') echo '' ;;
    esac
}
_agor_complete_agor_sandbox_kind() { # of an option or of the positional with that index
    case $1 in
    'agor-sandbox --profile') echo profiles ;;
    'agor-sandbox explain --profile') echo profiles ;;
    'agor-sandbox learn --profile') echo profiles ;;
    esac
}
_agor_complete_agor_sandbox() {
    local cur=$2 last=$((COMP_CWORD - 1)) path=agor-sandbox index=0 value='' kind='' word i line
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
        -*) case " $(_agor_complete_agor_sandbox_valued "$path") " in *" $word "*) value=$word ;; esac ;;
        *)
            case " $(_agor_complete_agor_sandbox_subcommands "$path") " in
            *" $word "*) path="$path $word" index=0 ;;
            *) index=$((index + 1)) ;;
            esac
            ;;
        esac
    done
    if [ -n "$value" ]; then
        kind=$(_agor_complete_agor_sandbox_kind "$path $value")
    elif [[ $cur != -* ]]; then
        kind=$(_agor_complete_agor_sandbox_kind "$path $index")
    fi
    if [ -z "$kind" ]; then
        _agor__sandbox "$@"
        return
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        [[ $line != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_agor_live "$kind")
}
complete -F _agor_complete_agor_sandbox -o bashdefault -o default agor-sandbox
