# Generated: make pages. shellcheck shell=bash disable=all
_btmsg() {
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
                cmd="btmsg"
                ;;
            btmsg,ack)
                cmd="btmsg__subcmd__ack"
                ;;
            btmsg,agents)
                cmd="btmsg__subcmd__agents"
                ;;
            btmsg,allow)
                cmd="btmsg__subcmd__allow"
                ;;
            btmsg,audit)
                cmd="btmsg__subcmd__audit"
                ;;
            btmsg,channel)
                cmd="btmsg__subcmd__channel"
                ;;
            btmsg,contacts)
                cmd="btmsg__subcmd__contacts"
                ;;
            btmsg,deny)
                cmd="btmsg__subcmd__deny"
                ;;
            btmsg,dlq)
                cmd="btmsg__subcmd__dlq"
                ;;
            btmsg,doctor)
                cmd="btmsg__subcmd__doctor"
                ;;
            btmsg,export)
                cmd="btmsg__subcmd__export"
                ;;
            btmsg,extend)
                cmd="btmsg__subcmd__extend"
                ;;
            btmsg,feed)
                cmd="btmsg__subcmd__feed"
                ;;
            btmsg,graph)
                cmd="btmsg__subcmd__graph"
                ;;
            btmsg,health)
                cmd="btmsg__subcmd__health"
                ;;
            btmsg,heartbeat)
                cmd="btmsg__subcmd__heartbeat"
                ;;
            btmsg,history)
                cmd="btmsg__subcmd__history"
                ;;
            btmsg,inbox)
                cmd="btmsg__subcmd__inbox"
                ;;
            btmsg,log)
                cmd="btmsg__subcmd__log"
                ;;
            btmsg,nack)
                cmd="btmsg__subcmd__nack"
                ;;
            btmsg,notify)
                cmd="btmsg__subcmd__notify"
                ;;
            btmsg,prune)
                cmd="btmsg__subcmd__prune"
                ;;
            btmsg,read)
                cmd="btmsg__subcmd__read"
                ;;
            btmsg,recv)
                cmd="btmsg__subcmd__recv"
                ;;
            btmsg,register)
                cmd="btmsg__subcmd__register"
                ;;
            btmsg,reply)
                cmd="btmsg__subcmd__reply"
                ;;
            btmsg,search)
                cmd="btmsg__subcmd__search"
                ;;
            btmsg,send)
                cmd="btmsg__subcmd__send"
                ;;
            btmsg,stats)
                cmd="btmsg__subcmd__stats"
                ;;
            btmsg,status)
                cmd="btmsg__subcmd__status"
                ;;
            btmsg,sweep)
                cmd="btmsg__subcmd__sweep"
                ;;
            btmsg,unread)
                cmd="btmsg__subcmd__unread"
                ;;
            btmsg,unregister)
                cmd="btmsg__subcmd__unregister"
                ;;
            btmsg,watch)
                cmd="btmsg__subcmd__watch"
                ;;
            btmsg,whoami)
                cmd="btmsg__subcmd__whoami"
                ;;
            btmsg__subcmd__audit,verify)
                cmd="btmsg__subcmd__audit__subcmd__verify"
                ;;
            btmsg__subcmd__channel,add)
                cmd="btmsg__subcmd__channel__subcmd__add"
                ;;
            btmsg__subcmd__channel,create)
                cmd="btmsg__subcmd__channel__subcmd__create"
                ;;
            btmsg__subcmd__channel,history)
                cmd="btmsg__subcmd__channel__subcmd__history"
                ;;
            btmsg__subcmd__channel,join)
                cmd="btmsg__subcmd__channel__subcmd__join"
                ;;
            btmsg__subcmd__channel,leave)
                cmd="btmsg__subcmd__channel__subcmd__leave"
                ;;
            btmsg__subcmd__channel,list)
                cmd="btmsg__subcmd__channel__subcmd__list"
                ;;
            btmsg__subcmd__channel,post)
                cmd="btmsg__subcmd__channel__subcmd__post"
                ;;
            btmsg__subcmd__channel,remove)
                cmd="btmsg__subcmd__channel__subcmd__remove"
                ;;
            btmsg__subcmd__channel,send)
                cmd="btmsg__subcmd__channel__subcmd__post"
                ;;
            btmsg__subcmd__dlq,list)
                cmd="btmsg__subcmd__dlq__subcmd__list"
                ;;
            btmsg__subcmd__dlq,purge)
                cmd="btmsg__subcmd__dlq__subcmd__purge"
                ;;
            btmsg__subcmd__dlq,redrive)
                cmd="btmsg__subcmd__dlq__subcmd__redrive"
                ;;
            btmsg__subcmd__dlq,show)
                cmd="btmsg__subcmd__dlq__subcmd__show"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        btmsg)
            opts="-h -V --as --json --help --version register unregister agents whoami contacts allow deny graph send reply inbox read history unread notify feed search recv ack nack extend channel heartbeat health sweep dlq watch log audit stats export prune status doctor"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__ack)
            opts="-h --token --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --token)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__agents)
            opts="-h --group --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --group)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__allow)
            opts="-b -h --both --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__audit)
            opts="-f -h --since --agent --type --limit --follow --as --json --help verify"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --since)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --agent)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --type)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__audit__subcmd__verify)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__channel)
            opts="-h --as --json --help create list post send history add remove join leave"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__channel__subcmd__add)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__channel__subcmd__create)
            opts="-h --group --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --group)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__channel__subcmd__history)
            opts="-h --limit --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__channel__subcmd__join)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__channel__subcmd__leave)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__channel__subcmd__list)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__channel__subcmd__post)
            opts="-h --ndjson --subject --priority --ttl --delay --dedup-key --max-deliveries --require-online --max-size --base64 --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --subject)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --priority)
                    COMPREPLY=($(compgen -W "low normal high urgent" -- "${cur}"))
                    return 0
                    ;;
                --ttl)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --delay)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --dedup-key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-deliveries)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__channel__subcmd__remove)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__contacts)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__deny)
            opts="-b -h --both --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__dlq)
            opts="-h --as --json --help list show redrive purge"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__dlq__subcmd__list)
            opts="-h --to --from --reason --since --waiting --limit --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --to)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --reason)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --since)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__dlq__subcmd__purge)
            opts="-h --all --to --from --reason --since --dry-run --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --to)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --reason)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --since)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__dlq__subcmd__redrive)
            opts="-h --all --to --from --reason --since --deliver-to --dry-run --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --to)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --reason)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --since)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --deliver-to)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__dlq__subcmd__show)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__doctor)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__export)
            opts="-h --since --only --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --since)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --only)
                    COMPREPLY=($(compgen -W "agents messages dead-letters audit channels" -- "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__extend)
            opts="-h --token --lease --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --token)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --lease)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__feed)
            opts="-h --limit --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__graph)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__health)
            opts="-h --top --watch --fail-at --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --top)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --watch)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fail-at)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__heartbeat)
            opts="-h --status --note --context --conflict --review --every --while-pid --detach --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --status)
                    COMPREPLY=($(compgen -W "busy idle" -- "${cur}"))
                    return 0
                    ;;
                --note)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --context)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --conflict)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --review)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --every)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --while-pid)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__history)
            opts="-h --limit --before --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --before)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__inbox)
            opts="-h --all --limit --after --from --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --after)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__log)
            opts="-h --source --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --source)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__nack)
            opts="-h --token --delay --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --token)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --delay)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__notify)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__prune)
            opts="-h --older-than --dry-run --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --older-than)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__read)
            opts="-h --peek --thread --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__recv)
            opts="-h --wait --lease --max --ack --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --wait)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --lease)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__register)
            opts="-h --role --group --tier --model --cwd --stall-after --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --role)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --group)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tier)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --model)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --cwd)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --stall-after)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__reply)
            opts="-h --ndjson --subject --priority --ttl --delay --dedup-key --max-deliveries --require-online --max-size --base64 --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --subject)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --priority)
                    COMPREPLY=($(compgen -W "low normal high urgent" -- "${cur}"))
                    return 0
                    ;;
                --ttl)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --delay)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --dedup-key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-deliveries)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__search)
            opts="-h --limit --from --since --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --from)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --since)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__send)
            opts="-h --to --thread --supersedes --allow-unknown --ndjson --subject --priority --ttl --delay --dedup-key --max-deliveries --require-online --max-size --base64 --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --to)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --thread)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --supersedes)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --subject)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --priority)
                    COMPREPLY=($(compgen -W "low normal high urgent" -- "${cur}"))
                    return 0
                    ;;
                --ttl)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --delay)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --dedup-key)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-deliveries)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__stats)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__status)
            opts="-h --check --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__sweep)
            opts="-h --dry-run --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__unread)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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
        btmsg__subcmd__unregister)
            opts="-h --reason --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --reason)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__watch)
            opts="-h --ack --max --timeout --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --max)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --as)
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
        btmsg__subcmd__whoami)
            opts="-h --as --json --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --as)
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

_agor_complete_btmsg_subcommands() {
    case $1 in
    'btmsg') echo 'register unregister agents whoami contacts allow deny graph send reply inbox read history unread notify feed search recv ack nack extend channel heartbeat health sweep dlq watch log audit stats export prune status doctor' ;;
    'btmsg register') echo '' ;;
    'btmsg unregister') echo '' ;;
    'btmsg agents') echo '' ;;
    'btmsg whoami') echo '' ;;
    'btmsg contacts') echo '' ;;
    'btmsg allow') echo '' ;;
    'btmsg deny') echo '' ;;
    'btmsg graph') echo '' ;;
    'btmsg send') echo '' ;;
    'btmsg reply') echo '' ;;
    'btmsg inbox') echo '' ;;
    'btmsg read') echo '' ;;
    'btmsg history') echo '' ;;
    'btmsg unread') echo '' ;;
    'btmsg notify') echo '' ;;
    'btmsg feed') echo '' ;;
    'btmsg search') echo '' ;;
    'btmsg recv') echo '' ;;
    'btmsg ack') echo '' ;;
    'btmsg nack') echo '' ;;
    'btmsg extend') echo '' ;;
    'btmsg channel') echo 'create list post history add remove join leave' ;;
    'btmsg channel create') echo '' ;;
    'btmsg channel list') echo '' ;;
    'btmsg channel post') echo '' ;;
    'btmsg channel history') echo '' ;;
    'btmsg channel add') echo '' ;;
    'btmsg channel remove') echo '' ;;
    'btmsg channel join') echo '' ;;
    'btmsg channel leave') echo '' ;;
    'btmsg heartbeat') echo '' ;;
    'btmsg health') echo '' ;;
    'btmsg sweep') echo '' ;;
    'btmsg dlq') echo 'list show redrive purge' ;;
    'btmsg dlq list') echo '' ;;
    'btmsg dlq show') echo '' ;;
    'btmsg dlq redrive') echo '' ;;
    'btmsg dlq purge') echo '' ;;
    'btmsg watch') echo '' ;;
    'btmsg log') echo '' ;;
    'btmsg audit') echo 'verify' ;;
    'btmsg audit verify') echo '' ;;
    'btmsg stats') echo '' ;;
    'btmsg export') echo '' ;;
    'btmsg prune') echo '' ;;
    'btmsg status') echo '' ;;
    'btmsg doctor') echo '' ;;
    esac
}
_agor_complete_btmsg_valued() {
    case $1 in
    'btmsg') echo '--as' ;;
    'btmsg register') echo '--role --group --tier --model --cwd --stall-after --as' ;;
    'btmsg unregister') echo '--reason --as' ;;
    'btmsg agents') echo '--group --as' ;;
    'btmsg whoami') echo '--as' ;;
    'btmsg contacts') echo '--as' ;;
    'btmsg allow') echo '--as' ;;
    'btmsg deny') echo '--as' ;;
    'btmsg graph') echo '--as' ;;
    'btmsg send') echo '--to --thread --supersedes --subject --priority --ttl --delay --dedup-key --max-deliveries --max-size --as' ;;
    'btmsg reply') echo '--subject --priority --ttl --delay --dedup-key --max-deliveries --max-size --as' ;;
    'btmsg inbox') echo '--limit --after --from --as' ;;
    'btmsg read') echo '--as' ;;
    'btmsg history') echo '--limit --before --as' ;;
    'btmsg unread') echo '--as' ;;
    'btmsg notify') echo '--as' ;;
    'btmsg feed') echo '--limit --as' ;;
    'btmsg search') echo '--limit --from --since --as' ;;
    'btmsg recv') echo '--wait --lease --max --as' ;;
    'btmsg ack') echo '--token --as' ;;
    'btmsg nack') echo '--token --delay --as' ;;
    'btmsg extend') echo '--token --lease --as' ;;
    'btmsg channel') echo '--as' ;;
    'btmsg channel create') echo '--group --as' ;;
    'btmsg channel list') echo '--as' ;;
    'btmsg channel post') echo '--subject --priority --ttl --delay --dedup-key --max-deliveries --max-size --as' ;;
    'btmsg channel history') echo '--limit --as' ;;
    'btmsg channel add') echo '--as' ;;
    'btmsg channel remove') echo '--as' ;;
    'btmsg channel join') echo '--as' ;;
    'btmsg channel leave') echo '--as' ;;
    'btmsg heartbeat') echo '--status --note --context --conflict --review --every --while-pid --as' ;;
    'btmsg health') echo '--top --watch --fail-at --as' ;;
    'btmsg sweep') echo '--as' ;;
    'btmsg dlq') echo '--as' ;;
    'btmsg dlq list') echo '--to --from --reason --since --limit --as' ;;
    'btmsg dlq show') echo '--as' ;;
    'btmsg dlq redrive') echo '--to --from --reason --since --deliver-to --as' ;;
    'btmsg dlq purge') echo '--to --from --reason --since --as' ;;
    'btmsg watch') echo '--max --timeout --as' ;;
    'btmsg log') echo '--source --as' ;;
    'btmsg audit') echo '--since --agent --type --limit --as' ;;
    'btmsg audit verify') echo '--as' ;;
    'btmsg stats') echo '--as' ;;
    'btmsg export') echo '--since --only --as' ;;
    'btmsg prune') echo '--older-than --as' ;;
    'btmsg status') echo '--as' ;;
    'btmsg doctor') echo '--as' ;;
    esac
}
_agor_complete_btmsg_kind() { # of an option or of the positional with that index
    case $1 in
    'btmsg --as') echo agents ;;
    'btmsg register --as') echo agents ;;
    'btmsg unregister --as') echo agents ;;
    'btmsg unregister 0') echo agents ;;
    'btmsg agents --as') echo agents ;;
    'btmsg whoami --as') echo agents ;;
    'btmsg contacts --as') echo agents ;;
    'btmsg contacts 0') echo agents ;;
    'btmsg allow --as') echo agents ;;
    'btmsg allow 0') echo agents ;;
    'btmsg allow 1') echo agents ;;
    'btmsg deny --as') echo agents ;;
    'btmsg deny 0') echo agents ;;
    'btmsg deny 1') echo agents ;;
    'btmsg graph --as') echo agents ;;
    'btmsg send --to') echo agents ;;
    'btmsg send --thread') echo messages ;;
    'btmsg send --supersedes') echo messages ;;
    'btmsg send --as') echo agents ;;
    'btmsg send '*) echo agents ;;
    'btmsg reply --as') echo agents ;;
    'btmsg reply 0') echo messages ;;
    'btmsg inbox --after') echo messages ;;
    'btmsg inbox --from') echo agents ;;
    'btmsg inbox --as') echo agents ;;
    'btmsg read --as') echo agents ;;
    'btmsg read 0') echo messages ;;
    'btmsg history --before') echo messages ;;
    'btmsg history --as') echo agents ;;
    'btmsg history 0') echo agents ;;
    'btmsg unread --as') echo agents ;;
    'btmsg notify --as') echo agents ;;
    'btmsg feed --as') echo agents ;;
    'btmsg search --from') echo agents ;;
    'btmsg search --as') echo agents ;;
    'btmsg recv --as') echo agents ;;
    'btmsg ack --as') echo agents ;;
    'btmsg ack '*) echo messages ;;
    'btmsg nack --as') echo agents ;;
    'btmsg nack '*) echo messages ;;
    'btmsg extend --as') echo agents ;;
    'btmsg extend '*) echo messages ;;
    'btmsg channel --as') echo agents ;;
    'btmsg channel create --as') echo agents ;;
    'btmsg channel list --as') echo agents ;;
    'btmsg channel post --as') echo agents ;;
    'btmsg channel post 0') echo channels ;;
    'btmsg channel history --as') echo agents ;;
    'btmsg channel history 0') echo channels ;;
    'btmsg channel add --as') echo agents ;;
    'btmsg channel add 0') echo channels ;;
    'btmsg channel add 1') echo agents ;;
    'btmsg channel remove --as') echo agents ;;
    'btmsg channel remove 0') echo channels ;;
    'btmsg channel remove 1') echo agents ;;
    'btmsg channel join --as') echo agents ;;
    'btmsg channel join 0') echo channels ;;
    'btmsg channel leave --as') echo agents ;;
    'btmsg channel leave 0') echo channels ;;
    'btmsg heartbeat --as') echo agents ;;
    'btmsg health --as') echo agents ;;
    'btmsg sweep --as') echo agents ;;
    'btmsg dlq --as') echo agents ;;
    'btmsg dlq list --to') echo agents ;;
    'btmsg dlq list --from') echo agents ;;
    'btmsg dlq list --as') echo agents ;;
    'btmsg dlq show --as') echo agents ;;
    'btmsg dlq show 0') echo letters ;;
    'btmsg dlq redrive --to') echo agents ;;
    'btmsg dlq redrive --from') echo agents ;;
    'btmsg dlq redrive --deliver-to') echo agents ;;
    'btmsg dlq redrive --as') echo agents ;;
    'btmsg dlq redrive '*) echo letters ;;
    'btmsg dlq purge --to') echo agents ;;
    'btmsg dlq purge --from') echo agents ;;
    'btmsg dlq purge --as') echo agents ;;
    'btmsg dlq purge '*) echo letters ;;
    'btmsg watch --as') echo agents ;;
    'btmsg log --as') echo agents ;;
    'btmsg audit --agent') echo agents ;;
    'btmsg audit --as') echo agents ;;
    'btmsg audit verify --as') echo agents ;;
    'btmsg stats --as') echo agents ;;
    'btmsg export --as') echo agents ;;
    'btmsg prune --as') echo agents ;;
    'btmsg status --as') echo agents ;;
    'btmsg doctor --as') echo agents ;;
    esac
}
_agor_complete_btmsg() {
    local cur=$2 last=$((COMP_CWORD - 1)) path=btmsg index=0 value='' kind='' word i line
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
        -*) case " $(_agor_complete_btmsg_valued "$path") " in *" $word "*) value=$word ;; esac ;;
        *)
            case " $(_agor_complete_btmsg_subcommands "$path") " in
            *" $word "*) path="$path $word" index=0 ;;
            *) index=$((index + 1)) ;;
            esac
            ;;
        esac
    done
    if [ -n "$value" ]; then
        kind=$(_agor_complete_btmsg_kind "$path $value")
    elif [[ $cur != -* ]]; then
        kind=$(_agor_complete_btmsg_kind "$path $index")
    fi
    if [ -z "$kind" ]; then
        _btmsg "$@"
        return
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        [[ $line != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
    done < <(_agor_live "$kind")
}
complete -F _agor_complete_btmsg -o bashdefault -o default btmsg
