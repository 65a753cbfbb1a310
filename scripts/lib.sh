# shellcheck shell=bash
# What scripts/run and scripts/test share: messages, steps with their times, and the environment they build.
# To be sourced. Works in bash 3.2, the one of macOS.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR=$target
# Of several kernelspecs named callboard, take the one in .venv.
export JUPYTER_PREFER_ENV_PATH=1
export PIP_DISABLE_PIP_VERSION_CHECK=1

# Exit codes.
# shellcheck disable=SC2034 # used by the scripts
usage_error=2
something_missing=3
step_failed=4

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') red=$(printf '\033[31m') green=$(printf '\033[32m') plain=$(printf '\033[0m')
else
    bold='' red='' green='' plain=''
fi

# missing WHAT HOW: ends the script because something is not installed.
missing() {
    printf '%sMissing: %s%s\n  %s\n' "$red" "$1" "$plain" "$2" >&2
    exit "$something_missing"
}

# duration SECONDS: as people say it.
duration() {
    if [ "$1" -ge 60 ]; then printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}

# step [-v] NAME COMMAND...: runs a command and says in one line how long it took. What the command prints is shown
# on a terminal, with -v, or when it fails. A step that fails ends the script with $step_failed.
step() {
    local show=no name start=$SECONDS log='' status=0
    if [ -t 1 ]; then show=yes; fi
    if [ "$1" = -v ]; then
        show=yes
        shift
    fi
    name=$1
    shift
    if [ "$show" = yes ]; then
        printf '%s▸ %s%s\n' "$bold" "$name" "$plain"
        "$@" </dev/null || status=$?
    else
        printf '▸ %s %s ' "$name" "$(dots "$name")"
        log=$target/logs/$(printf '%s' "$name" | tr -cs '[:alnum:]' -).log
        mkdir -p "$target/logs"
        "$@" </dev/null >"$log" 2>&1 || status=$?
    fi
    local took
    took=$(duration $((SECONDS - start)))
    if [ "$status" -ne 0 ]; then
        printf '%sfailed after %s%s\n' "$red" "$took" "$plain"
        if [ -n "$log" ]; then cat "$log"; fi
        printf '\n%sFailed: %s%s\n' "$red" "$name" "$plain" >&2
        exit "$step_failed"
    elif [ "$show" = yes ]; then
        printf '%s✓ %s%s %s %s\n' "$green" "$name" "$plain" "$(dots "$name")" "$took"
    else
        printf '%s\n' "$took"
    fi
}

# dots NAME: what fills the line between the name of a step and its time.
dots() { printf '%*s' $((60 - ${#1} > 3 ? 60 - ${#1} : 3)) '' | tr ' ' .; }

# python_says CODE: 0 if $python runs this code without an exception.
python_says() { "$python" -c "$1" >/dev/null 2>&1; }

python_version() { "$python" -c 'import platform; print(platform.python_version())'; }

# find_python: sets $python to one that .venv can be made with.
find_python() {
    local candidate seen='' no_venv=''
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        python=$(command -v "$candidate" || true)
        if [ -z "$python" ] || ! python_says pass; then
            if [ "$candidate" = "${PYTHON:-}" ]; then missing "the Python that \$PYTHON names: $PYTHON" "Set PYTHON to a Python 3.11 or later, or unset it."; fi
        elif ! python_says 'import sys; assert sys.version_info >= (3, 11)'; then
            seen="${seen:+$seen, }$candidate is $(python_version)"
            if [ "$candidate" = "${PYTHON:-}" ]; then break; fi
        elif ! python_says 'import ensurepip, venv'; then
            no_venv=$candidate
            if [ "$candidate" = "${PYTHON:-}" ]; then break; fi
        else
            return 0
        fi
    done
    if [ -n "$no_venv" ]; then
        missing "the venv module of $no_venv" "On Debian and Ubuntu: apt-get install python3-venv"
    fi
    missing "Python 3.11 or later" "${seen:+$seen. }Install one, or set PYTHON to it: PYTHON=/path/to/python3 $0"
}

# check_libpython: the `kernel` binary is linked with it.
check_libpython() {
    python_says 'import os, sysconfig
get = sysconfig.get_config_var
assert get("Py_ENABLE_SHARED") or get("PYTHONFRAMEWORK")
assert os.path.exists(os.path.join(get("LIBDIR"), get("LDLIBRARY"))) or get("PYTHONFRAMEWORK")' ||
        missing "the shared library of $python, which the kernel binary is linked with" \
            "On Debian and Ubuntu: apt-get install libpython3-dev; under pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install ...; or set PYTHON"
}

# check_rust: the compiler of Cargo.toml's rust-version or later, and what C and C++ are built with.
check_rust() {
    local needed found compiler
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v cargo >/dev/null || missing "Rust (cargo)" "Install Rust $needed or later: https://rustup.rs"
    found=$(cd "$root" && rustc --version 2>/dev/null | cut -d' ' -f2) || true
    if [ -z "$found" ]; then missing "the Rust compiler (rustc)" "Install Rust $needed or later: https://rustup.rs"; fi
    if [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -t. -k1,1n -k2,2n | head -n 1)" != "$needed" ]; then
        missing "Rust $needed or later (this is $found)" "Update it: rustup update"
    fi
    for compiler in "${CC:-cc}" "${CXX:-c++}"; do
        command -v "${compiler%% *}" >/dev/null || missing "a C and C++ compiler ($compiler)" \
            "ZeroMQ is built with it. On Debian and Ubuntu: apt-get install build-essential; on macOS: xcode-select --install"
    done
}

# make_venv: .venv of $python, kept if it is there already and fits.
make_venv() {
    local same='import sys; print(sys.base_prefix, sys.version)'
    if [ -x "$venv/bin/python" ] && [ "$("$venv/bin/python" -c "$same" 2>&1)" = "$("$python" -c "$same")" ] &&
        "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        return 0
    fi
    # What was built for another Python does not fit, even of the same version: the kernel binary is linked with it.
    if [ -d "$venv" ] && [ -d "$target" ]; then
        local profile
        for profile in dev release; do
            (cd "$root" && cargo clean --profile "$profile" -p pyo3 -p pyo3-ffi -p pyo3-build-config) || true
        done
    fi
    "$python" -m venv --clear "$venv"
}

# pip_install PACKAGE...: into .venv.
pip_install() { "$venv/bin/python" -m pip install --quiet "$@"; }

# use_python: lets cargo build for .venv's Python, under the very settings that maturin gives it: with others PyO3, and
# all that needs it, would be built anew each time the two take turns.
use_python() {
    export PYO3_PYTHON=$venv/bin/python
    PYO3_ENVIRONMENT_SIGNATURE=$("$PYO3_PYTHON" -c 'import struct, sys
print("%s-%d.%d-%dbit" % (sys.implementation.name, *sys.version_info[:2], struct.calcsize("P") * 8))')
    export PYO3_ENVIRONMENT_SIGNATURE
}

build_kernel() { cargo build --release --locked --bin kernel; }

# build_wheel: the package as a wheel in $target/wheels. Cargo's folder is the clone's own, so that a second build is quick.
build_wheel() {
    rm -rf "$target/wheels"
    (cd "$root" && "$venv/bin/maturin" build --release --locked --compatibility linux --auditwheel skip \
        --interpreter "$venv/bin/python" --out "$target/wheels")
}

# install_wheel PACKAGE...: the wheel anew, what it depends on, and these packages.
install_wheel() {
    pip_install --force-reinstall --no-deps "$target"/wheels/callboard-*.whl
    pip_install "$target"/wheels/callboard-*.whl "$@"
}

# build_requirement: what pyproject.toml asks for to build the package: maturin, and which.
build_requirement() { sed -n 's/^requires = \["\(.*\)"\]/\1/p' "$root/pyproject.toml"; }

# make_environment: .venv with what builds callboard, and the variables for cargo.
make_environment() {
    step "Environment .venv: Python $(python_version)" make_venv
    use_python
    step "Build tool: maturin" pip_install "$(build_requirement)"
}

# install_callboard PACKAGE...: builds callboard and installs it, its kernelspec and these packages into .venv.
install_callboard() {
    step "Release build of the package" build_wheel
    step "Package, kernelspec and dependencies into .venv" install_wheel "$@"
}
