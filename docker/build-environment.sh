#!/usr/bin/env bash
# build-environment.sh PREFIX DIST EXTRAS [PACKAGES]: install the wheel that lies in DIST, with
# extras and further packages (words), into a new virtual environment without installers.
set -euo pipefail

prefix=$1 extras=$3
wheels=("$2"/hdsynth-*.whl)
read -ra packages <<<"${4:-}"
if [ ${#wheels[@]} -ne 1 ] || [ ! -f "${wheels[0]}" ]; then
    echo "$2 must hold one hdsynth wheel, not: ${wheels[*]}" >&2
    exit 1
fi

python3 -m venv --without-pip "$prefix"
install() { python3 -m pip --disable-pip-version-check --python "$prefix/bin/python" "$@"; }
install install --quiet "${wheels[0]}[$extras]" "${packages[@]}"
install check
# Fails here rather than in a container that starts.
"$prefix/bin/hdsynth" --version
