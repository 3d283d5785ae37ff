"""``hdsynth data``: bring data sets into shape and check them."""

from __future__ import annotations

import click


@click.group()
def data() -> None:
    """Prepare and check training data."""
