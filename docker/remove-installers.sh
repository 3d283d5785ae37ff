#!/usr/bin/env bash
# remove-installers.sh: take the installers out of the Python on the PATH; nothing is installed
# into an image that runs.
set -euo pipefail

python3 -m pip --disable-pip-version-check uninstall --quiet --yes setuptools wheel pip
