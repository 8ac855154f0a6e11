# Sourced: turns --name value into name=value for every variable set before; ESPnet's way.
while [ $# -gt 0 ]; do
    case "$1" in
        --help) echo "$help_message"; exit 0 ;;
        --*=*) echo "$0: write '--name value', not '$1'" >&2; exit 1 ;;
        --*)
            name=${1#--}
            name=${name//-/_}
            if ! declare -p "$name" > /dev/null 2>&1; then
                echo "$0: unknown option $1 (see --help)" >&2
                exit 1
            fi
            if [ $# -lt 2 ]; then
                echo "$0: $1 needs a value" >&2
                exit 1
            fi
            printf -v "$name" '%s' "$2"
            shift 2 ;;
        *) echo "$0: unexpected argument '$1' (see --help)" >&2; exit 1 ;;
    esac
done
