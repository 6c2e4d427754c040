#!/bin/sh
# Make .venv from the pinned packages; on a bare Debian or Ubuntu, add what Python lacks.
set -eu
cd "$(dirname "$0")/.."
fail() { echo "coalmine: $1" >&2; exit 1; }
python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "Python 3.11 or newer is needed: install python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "Python 3.11 or newer is needed; this is $("$python" -V)"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
        || fail "Python's venv module is missing: install python3-venv"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
fi
echo "coalmine: setting up .venv (about a minute on first use)" >&2
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable '.[dev]'
