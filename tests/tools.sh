# Sourced by tests/run and tests/services, in the root of the repository: what both need.
# shellcheck shell=bash

# A run builds many sets of features once, and none again after a change: what an incremental build keeps for that were two thirds of `target`.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

# step WHAT: tells what begins, after how many seconds of the command, and how much room is left.
step() { printf '\n== %s (%d s, %s free)\n' "$*" "$SECONDS" "$(df -h --output=avail . | tail -n 1 | tr -d ' ')"; }

# lacking PACKAGE:FILE...: prints each package of Debian whose file is not there, one a line; python3-venv, too, if it is not there.
lacking() {
    local entry
    for entry; do
        [ -e "${entry#*:}" ] || echo "${entry%%:*}"
    done
    # Debian's python3 says that it has venv; without python3-venv it cannot make one with pip in it.
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

# debian PACKAGE...: installs packages of Debian. It takes root. Debian starts a server as a service, too, unless RUNLEVEL is 1.
debian() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# venv DIR REQUIREMENT...: makes a virtual environment of these, anew.
venv() {
    mkdir -p "$(dirname "$1")"
    rm -rf "$1"
    /usr/bin/python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

# The crates that are published, as arguments of cargo: tests/publish.rs holds the list.
published=(-p gin-shared -p gin-otlp -p gin-worker -p gin-supervisor -p gin-ctl -p gin-server)

# Builds all programs with debug checks, and tells the harness where they are: else each test would ask cargo.
build_programs() {
    cargo build --quiet --workspace --bins --examples --locked
    GIN_BIN_DIR=$PWD/${CARGO_TARGET_DIR:-target}/debug
    case "${CARGO_TARGET_DIR:-}" in /*) GIN_BIN_DIR=$CARGO_TARGET_DIR/debug ;; esac
    export GIN_BIN_DIR
}
