import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GRPC_HEADER = Path("/usr/include/grpcpp/grpcpp.h")
GPP, PROTOC, PLUGIN, MCS = map(shutil.which, ("g++", "protoc", "grpc_cpp_plugin", "mcs"))


@pytest.mark.skipif(MCS is None, reason="needs Mono's C# compiler, mcs")
def test_csharp_session_is_csharp() -> None:
    """The session parses; what it stands on is not here to check its types."""
    source = ROOT / "clients" / "csharp" / "HdsynthSession.cs"

    subprocess.run([str(MCS), "--parse", str(source)], check=True)


@pytest.mark.skipif(
    not (GPP and PROTOC and PLUGIN and GRPC_HEADER.exists()),
    reason="needs g++, protoc, grpc_cpp_plugin and the headers of libgrpc++-dev",
)
def test_cpp_session_compiles(tmp_path: Path) -> None:
    """The header compiles against the stubs that are generated from the proto file."""
    stubs = [f"--cpp_out={tmp_path}", f"--grpc_out={tmp_path}"]
    plugin = f"--plugin=protoc-gen-grpc={PLUGIN}"
    proto = f"-I{ROOT / 'proto'}"
    subprocess.run([str(PROTOC), proto, *stubs, plugin, "hdsynth/v1/synthesis.proto"], check=True)
    main = tmp_path / "main.cpp"
    main.write_text('#include "hdsynth_session.h"\n')

    includes = [f"-I{tmp_path}", f"-I{ROOT / 'clients' / 'cpp'}"]
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run([str(GPP), *options, *includes, str(main)], check=True)
