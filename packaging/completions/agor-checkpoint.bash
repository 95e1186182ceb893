# Generated: make pages. shellcheck shell=bash disable=all
_agor__checkpoint() {
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
                cmd="agor__checkpoint"
                ;;
            agor__checkpoint,status)
                cmd="agor__checkpoint__subcmd__status"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        agor__checkpoint)
            opts="-q -h -V --interval --mode --stall-budget --deadline --wal-max --any-filesystem --json --quiet --help --version status"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --mode)
                    COMPREPLY=($(compgen -W "auto truncate passive" -- "${cur}"))
                    return 0
                    ;;
                --stall-budget)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --deadline)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --wal-max)
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
        agor__subcmd__checkpoint__subcmd__status)
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

_agor_complete_agor_checkpoint_subcommands() {
    case $1 in
    'agor-checkpoint') echo 'status' ;;
    'agor-checkpoint status') echo '' ;;
    esac
}
_agor_complete_agor_checkpoint_valued() {
    case $1 in
    'agor-checkpoint') echo '--interval --mode --stall-budget --deadline --wal-max' ;;
    'agor-checkpoint status') echo '' ;;
    esac
}
_agor_complete_agor_checkpoint_kind() { # of an option or of the positional with that index
    case $1 in
    esac
}
_agor_complete_agor_checkpoint() {
    local cur=$2 last=$((COMP_CWORD - 1)) path=agor-checkpoint index=0 value='' kind='' word i line
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
        -*) case " $(_agor_complete_agor_checkpoint_valued "$path") " in *" $word "*) value=$word ;; esac ;;
        *)
            case " $(_agor_complete_agor_checkpoint_subcommands "$path") " in
            *" $word "*) path="$path $word" index=0 ;;
            *) index=$((index + 1)) ;;
            esac
            ;;
        esac
    done
    if [ -n "$value" ]; then
        kind=$(_agor_complete_agor_checkpoint_kind "$path $value")
    elif [[ $cur != -* ]]; then
        kind=$(_agor_complete_agor_checkpoint_kind "$path $index")
    fi
    if [ -z "$kind" ]; then
        _agor__checkpoint "$@"
        return
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        [[ $line != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_agor_live "$kind")
}
complete -F _agor_complete_agor_checkpoint -o bashdefault -o default agor-checkpoint
