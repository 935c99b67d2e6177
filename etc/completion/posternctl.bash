# shellcheck shell=bash
# Completion of posternctl(8) for bash.

_posternctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' socket=/run/postern/control i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --socket)
            i=$((i + 1))
            socket=${COMP_WORDS[i]}
            ;;
        --user | --address | --limit | --for | --event) i=$((i + 1)) ;;
        -*) ;;
        *) command=${command:-${COMP_WORDS[i]}} ;;
        esac
    done
    case $before in
    -s | --socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --user | --address)
        mapfile -t COMPREPLY < <(compgen -W "$(_posternctl_known "$socket" "$before")" -- "$word")
        return
        ;;
    --event)
        mapfile -t COMPREPLY < <(compgen -W 'login message session' -- "$word")
        return
        ;;
    --limit | --for) return ;;
    esac
    local words
    case $command in
    '') words='status sessions kick tail failures permits permit deny revoke drain resume health reload reopen log metrics --socket --json --help --version' ;;
    sessions) words="--user --address --limit $(_posternctl_known "$socket" id)" ;;
    kick) words="--user --address $(_posternctl_known "$socket" id)" ;;
    tail) words='--user --address --event' ;;
    permit) words="--user --for $(_posternctl_known "$socket" --address)" ;;
    deny) words="--for $(_posternctl_known "$socket" --address)" ;;
    revoke) words=$(posternctl --socket "$socket" permits 2>/dev/null |
        awk 'NR > 1 && $2 ~ /^[0-9a-f.:\/]+$/ { print $2 }' | sort -u) ;;
    log) words='error warning notice info debug' ;;
    *) words='' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

# Users, addresses or ids of the sessions that there are now, but for those that a shell could
# take for something else.
_posternctl_known() {
    local column
    case $2 in
    id) column=1 ;;
    --address) column=2 ;;
    --user) column=3 ;;
    esac
    posternctl --socket "$1" sessions 2>/dev/null |
        awk -v column="$column" 'NR > 1 && $column ~ /^[A-Za-z0-9@._:+-]+$/ && $column != "-" {
            print $column }' | sort -u
}

complete -F _posternctl posternctl
