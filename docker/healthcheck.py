# ruff: noqa: INP001, a script
"""Docker's health check: whether the server in this container is alive."""

import os
import urllib.request

port = os.environ.get("HDSYNTH_METRICS_PORT", "9400")
# On the metrics port, which needs neither TLS nor a key. An answer other than 200 raises.
urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=3).close()
