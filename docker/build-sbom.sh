#!/usr/bin/env bash
# build-sbom.sh PREFIX: write PREFIX/sbom.cdx.json, the Python packages of that environment in
# CycloneDX form. Those of the base image are listed by `docker buildx build --sbom=true`.
set -euo pipefail

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/python" -m pip --disable-pip-version-check install --quiet cyclonedx-bom==7.5.0
"$tools/bin/cyclonedx-py" environment --output-reproducible --output-format JSON \
    --output-file "$1/sbom.cdx.json" "$1/bin/python"
