#!/bin/sh
# Make .venv from requirements.lock with $PYTHON; called by the Makefile.
# A .venv that a process uses is never removed.
set -eu
PYTHON=${PYTHON:-python3}
fail() { echo "$1" >&2; exit 1; }

command -v "$PYTHON" >/dev/null ||
    fail "$PYTHON is not there; Midway needs Python 3.11 or newer: make run PYTHON=python3.12"
"$PYTHON" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null ||
    fail "Midway needs Python 3.11 or newer, and $PYTHON is $("$PYTHON" -V 2>&1); name another one: make run PYTHON=python3.12"

# Processes whose command or loaded libraries lie in this .venv (Linux: both; macOS: commands).
users() {
    VENV="$(pwd -P)/.venv/" ps -eww -o pid=,args= | VENV="$(pwd -P)/.venv/" awk 'index($0, ENVIRON["VENV"]) { print $1 }'
    grep -lsF "$(pwd -P)/.venv/" /proc/[0-9]*/maps 2>/dev/null | cut -d/ -f3 || true
}

if [ -e .venv ]; then
    old=$(.venv/bin/python -V 2>/dev/null || echo "a Python that does not start")
    new=$("$PYTHON" -V)
    if [ "$old" = "$new" ]; then
        why="requirements.lock, pyproject.toml or the folder's place changed"
    else
        why="it has $old, and $PYTHON is $new"
    fi
    busy=$(users | sort -un | tr '\n' ' ')
    [ -z "$busy" ] ||
        fail ".venv must be made again ($why), but processes use it: $busy; wait for them or end them, then repeat the command"
    echo "Removing .venv and making it again: $why."
    rm -rf .venv
fi

echo "Setting up .venv with $("$PYTHON" -V) (once, two to three minutes) ..."
"$PYTHON" -m venv .venv
pip="env .venv/bin/python -m pip install -qq --disable-pip-version-check"
if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1; then
    torch=$(grep '^torch==' requirements.lock)
    if command -v uv >/dev/null 2>&1 &&
        uv pip install -q --python .venv/bin/python --torch-backend cpu "$torch"; then
        echo "No NVIDIA GPU found: the CPU build of torch is installed."
    elif [ -z "${PIP_EXTRA_INDEX_URL:-}${PIP_INDEX_URL:-}" ]; then
        echo "No NVIDIA GPU found. To save 4 GB stop here, install uv (pip install uv), which picks the CPU build of torch, or set PIP_EXTRA_INDEX_URL to PyTorch's CPU index."
    fi
fi
$pip -r requirements.lock
$pip --no-deps --no-build-isolation -e .
.venv/bin/python -c "import click, papermill, pydantic, submitit, torch, transformers, midway"
