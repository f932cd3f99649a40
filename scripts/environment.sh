# Sourced by the other scripts: a virtual environment of the project's own, made once and kept up to date.
# shellcheck shell=bash

# The repository's root; every script runs from there.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# Prints a Python of at least 3.11.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed; set PYTHON to where it is."
}

# Installs Debian packages if we may; otherwise says which are missing.
debian_packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing $* …"
        apt-get update -qq >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
    else
        fail "Missing: $*. Install them with your package manager and run this again."
    fi
}

# environment NAME PIP-ARGUMENTS…: makes or updates the virtual environment .venv for what NAME needs.
environment() {
    local name=$1 python stamp
    shift
    python=$(find_python)
    stamp="$(cksum <pyproject.toml) $*"
    if [ "$(cat ".venv/.$name" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    if [ ! -x .venv/bin/python ]; then
        say "Making a virtual environment in .venv …"
        if ! "$python" -m venv .venv 2>/dev/null; then
            rm -rf .venv
            debian_packages python3-venv
            "$python" -m venv .venv
        fi
        # Dependency groups (PEP 735) need pip 25.1.
        .venv/bin/python -m pip install -q --upgrade 'pip>=25.1'
    fi
    say "Installing what $name needs …"
    .venv/bin/python -m pip install -q "$@"
    printf '%s' "$stamp" >".venv/.$name"
}

# The browser tests drive a real Chromium; CJK fonts because the chat page speaks Chinese too.
browser() {
    command -v chromium >/dev/null && [ -d /usr/share/fonts/opentype/noto ] && return
    debian_packages chromium fonts-noto-cjk fonts-noto-color-emoji
}

# Real servers for tests and examples: Redis and etcd from Debian, Kafka's jars from Maven into .services/kafka.
servers() {
    local packages=()
    command -v redis-server >/dev/null || packages+=(redis-server)
    command -v etcd >/dev/null || packages+=(etcd-server)
    command -v java >/dev/null || packages+=(default-jre-headless)
    if [ ! -d .services/kafka ]; then
        command -v mvn >/dev/null || packages+=(maven)
    fi
    [ ${#packages[@]} = 0 ] || debian_packages "${packages[@]}"
    if [ ! -d .services/kafka ]; then
        say "Collecting Kafka's jars …"
        rm -rf .services/collecting
        mvn -q -f scripts/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$PWD/.services/collecting"
        mv .services/collecting .services/kafka
    fi
}

# nginx and HAProxy, which the documentation's configurations run on.
web_server() {
    local path="$PATH:/usr/sbin"
    if ! PATH=$path command -v nginx >/dev/null || ! PATH=$path command -v haproxy >/dev/null; then
        debian_packages nginx-light haproxy
    fi
}
