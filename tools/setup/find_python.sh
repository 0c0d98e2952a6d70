#!/usr/bin/env bash
# find_python.sh VENV [PYTHON]
#
# Prints the Python that the virtual environment VENV is made with: PYTHON where one is given, else
# the one that VENV was made with, so that another order of PATH does not make it anew, else the
# first of the supported versions that is found and really runs. Where that is one of a virtual
# environment, such as an activated one, it is the Python which that environment was made with.
set -u

supported='import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
# Python 3.10 takes an environment's own link to its Python for that Python.
base='import os, sys; path = sys._base_executable
inside = sys.prefix != sys.base_prefix and path.startswith(sys.prefix + os.sep)
print(os.path.realpath(path) if inside else path)'
names=("$1/bin/python" python3.11 python3.12 python3.10 python3 python)
[ $# -gt 1 ] && [ -n "$2" ] && names=("$2")

for name in "${names[@]}"; do
    path=$(command -v "$name") || continue
    if "$path" -c "$supported" >/dev/null 2>&1; then
        "$path" -c "$base"
        exit 0
    fi
done

echo "make: no usable Python among: ${names[*]}" >&2
echo "  needed: Python 3.10, 3.11 or 3.12 with its venv module (on Debian: python3-venv)." >&2
echo "  Install one, or name one: make PYTHON=/path/to/python3.11 ..." >&2
exit 1
