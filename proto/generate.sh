#!/bin/sh
# Writes the Python stubs of the .proto files into this folder, or into the one given.
#   PYTHON=.venv/bin/python proto/generate.sh [FOLDER]
set -eu
out=$(realpath "${1:-$(dirname "$0")}")
cd "$(dirname "$0")"
python=${PYTHON:-python3}
"$python" -m grpc_tools.protoc -I. --python_out="$out" --pyi_out="$out" \
    hdsynth/v1/synthesis.proto hdsynth/oip/v2/inference.proto
# Only the first has a service of its own.
"$python" -m grpc_tools.protoc -I. --grpc_python_out="$out" hdsynth/v1/synthesis.proto
# The Python client has its own copy of the messages, so that it can be installed alone.
if [ $# -eq 0 ]; then
    cp hdsynth/v1/synthesis_pb2.py hdsynth/v1/synthesis_pb2.pyi \
        ../clients/python/hdsynth_client/_wire/
fi
