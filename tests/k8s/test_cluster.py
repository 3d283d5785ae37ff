"""The chart in a real cluster, for whoever has one: KUBECONFIG_TEST names its kubeconfig."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from tests.k8s.conftest import CHART, run_helm

CLUSTER = os.environ.get("KUBECONFIG_TEST", "")


@pytest.mark.skipif(not CLUSTER, reason="needs a cluster, and its kubeconfig in KUBECONFIG_TEST")
def test_release_installs_answers_and_goes(helm4: Path) -> None:
    """The default release becomes ready and `helm test` gets photographs on every face.

    The image hdsynth/server-cpu must be where the cluster's nodes find it.
    """
    release = f"test-{uuid.uuid4().hex[:8]}"
    cluster = ["--kubeconfig", CLUSTER, "--namespace", release]
    commands = [
        ["install", release, str(CHART), "--create-namespace", "--wait", "--timeout", "15m"],
        ["test", release, "--timeout", "5m"],
    ]
    try:
        for command in commands:
            result = run_helm(helm4, *command, *cluster)
            assert result.returncode == 0, result.stdout + result.stderr
    finally:
        run_helm(helm4, "uninstall", release, "--wait", *cluster)
