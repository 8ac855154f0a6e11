#!/usr/bin/env bash
# Make the virtual environment: tools/setup_venv.sh PYTHON DIR
set -euo pipefail
python=$1
venv=$2

"$python" -m venv "$venv"
# newer pips refuse ci_sdr, which espnet needs: its metadata names a git address in an extra
"$venv/bin/python" -m pip install --quiet "pip<26" "setuptools<74" wheel
"$venv/bin/python" -m pip install --quiet -c constraints.txt -e ".[dev]"
touch "$venv/.ready"
