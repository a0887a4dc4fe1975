#!/bin/sh
# Releases an archive on hosts, one after the other. The first failure ends it, and that host goes back to what it had.
#
#   release.sh [--stay | --drain] RELEASE.tar.gz HOST...
#
#   --stay    restart in place: the host serves all the time, and the balancer notices nothing (the default)
#   --drain   stop and start: /readyz says 503 for `timeouts.lame_duck`, and the balancer takes the host out meanwhile
#
# Exit codes: 0 each host serves the release; 1 a host did not take it, and is as it was: later hosts were not touched; 2 wrong usage;
# 3 a host cannot be used, and nothing was changed anywhere; 4 a host failed or was lost and is not known to be as it was, or this was
# ended by a signal: look at it.
#
# HOST is a name that ssh knows. Its address by ssh is asked by HTTP, too. Each variable below may be set in the environment.
set -u

: "${SSH:=ssh}"                              # with options of your own; those below count where it has none
: "${DIRECTORY:=/srv/shop}"                  # it has releases/ID, and `current` leads to one of them
: "${INSTANCE:=shop}"                        # of gin
: "${PORT:=8080}"
: "${READY:=/readyz?exclude=parts}"          # /readyz alone: no release while a database is away
: "${TIMEOUT:=120}"                          # seconds of a restart, and again until READY answers
: "${STOP:=systemctl stop gin@$INSTANCE}"    # for --drain
: "${START:=systemctl start gin@$INSTANCE}"
: "${TAKEN_BACK:=5}"                         # seconds until the balancer sends requests to a host that is ready again

say() { printf '%s\n' "$*"; }
complain() { printf 'release.sh: %s\n' "$*" >&2; }
usage() {
    complain "$1"
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}

drain=
case "${1:-}" in
    --drain) drain=1; shift ;;
    --stay) shift ;;
    -*) usage "unknown option $1" ;;
esac
[ $# -ge 2 ] || usage "a release and at least one host are needed"
archive=$1
shift
release=$(basename "$archive" .tar.gz)
case "$release" in
    "" | .* | *[!A-Za-z0-9._-]*) usage "$release: a release has letters, digits, '.', '_' and '-' in its name" ;;
esac
[ -r "$archive" ] && tar -tzf "$archive" >/dev/null 2>&1 || usage "$archive: cannot be read as .tar.gz"

# Runs a command on a host; 255 if the host is not reached, or is lost meanwhile.
on() {
    host=$1
    shift
    $SSH -o BatchMode=yes -o ConnectTimeout=5 -o ServerAliveInterval=5 -o ServerAliveCountMax=3 "$host" "$@"
}

restart() { on "$1" "gin-ctl restart --timeout ${TIMEOUT}s '$INSTANCE'" </dev/null; }

# Points `current` to a release, at once: nobody finds it missing. One that is there needs no room on the disk.
point() {
    on "$1" "cd '$DIRECTORY' && { [ \"\$(readlink current)\" = '$2' ] || \
        { ln -sfn '$2' current.new && mv -T current.new current; }; }" </dev/null
}

# Unpacks the release beside the others. Under its name it is whole. One that is there is not written again.
copy() {
    on "$1" "cd '$DIRECTORY/releases' && if [ -d '$release' ]; then cat >/dev/null; else \
        rm -rf '.$release' && mkdir '.$release' && tar -xzf - -C '.$release' && mv -T '.$release' '$release'; fi" <"$archive"
}

# Looks at it from here, as the balancer does.
ready() {
    address=$($SSH -G "$1" | sed -n 's/^hostname //p')
    curl --silent --show-error --fail --output /dev/null --max-time 5 \
        --retry "$TIMEOUT" --retry-delay 1 --retry-max-time "$TIMEOUT" --retry-all-errors "http://$address:$PORT$READY"
}

start() {
    on "$1" "$START" </dev/null && ready "$1" && sleep "$TAKEN_BACK"
}

# Back to what it had. Where a restart has failed, that serves: only the link has to go back.
back() {
    host=$1 before=$2 failed=$3
    if [ -n "$drain" ]; then
        on "$host" "$STOP" </dev/null
        point "$host" "$before"
        moved=$?
        # Whatever became of the link: a host that serves anything is better than one that is stopped.
        start "$host" && [ "$moved" = 0 ]
    elif [ "$failed" = restart ]; then
        point "$host" "$before" && ready "$host"
    else
        point "$host" "$before" && restart "$host" && ready "$host"
    fi
}

# Ends the release at a host that has failed.
give_up() {
    host=$1 before=$2 failed=$3
    complain "$host: $release failed ($failed); back to $before"
    if back "$host" "$before" "$failed"; then
        complain "$host serves $before as before; later hosts were not touched"
        exit 1
    fi
    complain "$host is not known to be as it was: look at it; later hosts were not touched"
    exit 4
}

unusable=
for host in "$@"; do
    on "$host" "cd '$DIRECTORY' && test -L current && test -w . && test -w releases" </dev/null
    case $? in
        0) ;;
        255) complain "$host cannot be reached"; unusable=1 ;;
        *) complain "$host has no $DIRECTORY/current, or that user may not write there"; unusable=1 ;;
    esac
done
[ -z "$unusable" ] || { complain "nothing was changed"; exit 3; }

# Ends the release at a host of which nothing was changed yet: it could not be read or written, or is not reached any more.
untouched() {
    status=$1 host=$2
    complain "$host: $3; later hosts were not touched"
    [ "$status" = 255 ] || exit 1
    complain "$host is lost: look at it"
    exit 4
}

# A host that is under way goes back to what it had when this is ended by a signal. A second one ends that, too. But a terminal that closes
# sends SIGHUP twice, and who reads the output may have ended by the same Ctrl-C.
underway=
ended() {
    trap '' HUP PIPE
    trap 'complain "ended again: look at $underway, which may be stopped"; exit 4' INT TERM
    [ -n "$underway" ] || { complain "ended between two hosts"; exit 4; }
    complain "ended: $underway goes back to $before"
    if back "$underway" "$before" ended; then
        complain "$underway serves $before as before; later hosts were not touched"
    else
        complain "$underway is not known to be as it was: look at it; later hosts were not touched"
    fi
    exit 4
}
trap ended HUP INT TERM

for host in "$@"; do
    say "$host: $release"
    before=$(on "$host" "readlink '$DIRECTORY/current'" </dev/null) || untouched $? "$host" "its release cannot be read"
    copy "$host" || untouched $? "$host" "$release cannot be copied"
    underway=$host
    if [ -n "$drain" ]; then
        on "$host" "$STOP" </dev/null || give_up "$host" "$before" stop
        point "$host" "releases/$release" || give_up "$host" "$before" link
        start "$host" || give_up "$host" "$before" start
    else
        point "$host" "releases/$release" || give_up "$host" "$before" link
        restart "$host"
        case $? in
            0) ;;
            1 | 2 | 4 | 5) give_up "$host" "$before" restart ;;
            # Lost, or without an answer in time: it may yet take the release.
            *) give_up "$host" "$before" unknown ;;
        esac
        ready "$host" || give_up "$host" "$before" ready
    fi
    underway=
done
say "$# hosts serve $release"
