#!/usr/bin/env bash
# build-wheel.sh FOLDER: build the wheel of the checkout in the current folder.
set -euo pipefail

python3 -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$1" .
