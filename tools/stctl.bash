# Completion for stctl(1).

_stctl()
{
    local cur prev words cword
    _init_completion -s || return
    case $prev in
        -o | --output) mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$cur"); return ;;
        --role) mapfile -t COMPREPLY < <(compgen -W 'worker master admin viewer' -- "$cur"); return ;;
        --state) mapfile -t COMPREPLY < <(compgen -W 'registered worker master' -- "$cur"); return ;;
        --node) _stctl_names 'node list' \$1; return ;;
        --cert | --file | --key | --masters-cert | --out | --recovery-key) _filedir; return ;;
        --context) _stctl_names 'context list' substr\(\$0,6\); return ;;
        --nodes) _stctl_names 'node list' \$1; return ;;
        --address | --at | --expect | --expires | --fingerprint | --for | -n | --lines | --name | \
            --pcrs | --timeout | --uses) return ;;
    esac
    local i noun='' verb='' argument=''
    for ((i = 1; i < cword; i++)); do
        case ${words[i]} in
            -o | --output | --role | --state | --cert | --key | --masters-cert | --out | \
                --context | --address | --at | --expect | --expires | --file | --fingerprint | \
                --for | -n | --lines | --name | --node | --nodes | --pcrs | --recovery-key | --timeout | \
                --uses) ((i++)) ;;
            -*) ;;
            *)
                if [[ -z $noun ]]; then
                    noun=${words[i]}
                elif [[ -z $verb ]]; then
                    verb=${words[i]}
                elif [[ "$noun $verb" =~ ^policy\ (ca|window|captured)$ ]]; then
                    verb+=" ${words[i]}"
                else
                    argument=${words[i]}
                fi
                ;;
        esac
    done
    if [[ $cur == -* ]]; then
        _stctl_options "$noun $verb"
    elif [[ -z $noun ]]; then
        mapfile -t COMPREPLY < <(
            compgen -W 'keygen admin context enrolment node recovery policy authority master audit status' -- "$cur")
    elif [[ -z $verb ]]; then
        case $noun in
            context) mapfile -t COMPREPLY < <(compgen -W 'add update use list remove' -- "$cur") ;;
            admin) mapfile -t COMPREPLY < <(compgen -W 'list add remove' -- "$cur") ;;
            enrolment) mapfile -t COMPREPLY < <(compgen -W 'create list revoke' -- "$cur") ;;
            node) mapfile -t COMPREPLY < <(compgen -W 'list show adopt pcrs approve recovery-key remove' -- "$cur") ;;
            recovery) mapfile -t COMPREPLY < <(compgen -W 'keygen open' -- "$cur") ;;
            policy)
                mapfile -t COMPREPLY < <(
                    compgen -W 'show set edit test history capture window captured ca' -- "$cur")
                ;;
            authority) mapfile -t COMPREPLY < <(compgen -W 'renew' -- "$cur") ;;
            master) mapfile -t COMPREPLY < <(compgen -W 'invite invitations uninvite list remove' -- "$cur") ;;
            audit) mapfile -t COMPREPLY < <(compgen -W 'tail' -- "$cur") ;;
        esac
    elif [[ -z $argument ]]; then
        case "$noun $verb" in
            'context use' | 'context remove') _stctl_names 'context list' substr\(\$0,6\) ;;
            'enrolment revoke') _stctl_names 'enrolment list' \$3 ;;
            'node show' | 'node adopt' | 'node pcrs' | 'node approve' | 'node recovery-key' | \
                'node remove' | 'policy test' | 'policy capture') _stctl_names 'node list' \$1 ;;
            'policy ca') mapfile -t COMPREPLY < <(compgen -W 'add list remove' -- "$cur") ;;
            'policy window') mapfile -t COMPREPLY < <(compgen -W 'open close' -- "$cur") ;;
            'policy captured') mapfile -t COMPREPLY < <(compgen -W 'list remove' -- "$cur") ;;
            'policy ca remove') _stctl_names 'policy ca list' \$1 ;;
            'policy captured remove') _stctl_names 'policy captured list' \$1 ;;
            'policy set' | 'policy ca add' | 'recovery open' | 'admin add') _filedir ;;
            'admin remove') _stctl_names 'admin list' \$1 ;;
            'master uninvite') _stctl_names 'master invitations' \$3 ;;
            'master remove') _stctl_names 'master list' \$1 ;;
        esac
    fi
} &&
    complete -F _stctl stctl

_stctl_options()
{
    local options='--output --context --timeout --help --version'
    case $1 in
        'keygen '*) options+=' --out --name' ;;
        'context add') options+=' --address --masters-cert --fingerprint --cert --key' ;;
        'enrolment create') options+=' --uses --expires --out --recovery-key' ;;
        'node list') options+=' --state' ;;
        'node adopt' | 'admin add') options+=' --role' ;;
        'node recovery-key' | 'recovery open') options+=' --key' ;;
        'recovery keygen') options+=' --out' ;;
        'node pcrs') options+=' --diff' ;;
        'node approve' | 'admin remove') options+=' --yes' ;;
        'node remove' | 'master remove') options+=' --yes --force' ;;
        'policy show') options+=' --at' ;;
        'policy set') options+=' --expect' ;;
        'policy test') options+=' --file' ;;
        'policy capture') options+=' --name --pcrs --all --refused' ;;
        'policy window open') options+=' --for --nodes' ;;
        'master invite') options+=' --expires --out' ;;
        'audit tail') options+=' --follow --lines --node' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
}

# The names in a column of a list that the cluster makes; nothing where it cannot be asked within a
# second.
_stctl_names()
{
    local column=$2 names
    # shellcheck disable=SC2086 # it is two words, or three
    names=$(stctl $1 --timeout 1s 2>/dev/null |
        awk "NR > 1 && !NF { exit } NR > 1 { split($column, name, \" \"); print name[1] }")
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$cur")
}
