"""Votes in an SQLite file: no names, no addresses, nothing that leads back to a person."""

from __future__ import annotations

import csv
import io
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from training.study.trials import DAMAGED, Trial

_SCHEMA = """
CREATE TABLE IF NOT EXISTS raters (
    id TEXT PRIMARY KEY, seed INTEGER NOT NULL, consented_at TEXT NOT NULL DEFAULT (datetime())
) STRICT;
CREATE TABLE IF NOT EXISTS trials (
    id INTEGER PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters, number INTEGER NOT NULL,
    picture TEXT NOT NULL, left TEXT NOT NULL, right TEXT NOT NULL, exposure_s REAL,
    choice TEXT CHECK (choice IN ('left', 'right')), response_ms INTEGER,
    UNIQUE (rater, number)
) STRICT;
"""
_COLUMNS = ("rater", "picture", "left", "right", "exposure_s", "choice", "response_ms")


@dataclass(frozen=True)
class Vote:
    """One answer."""

    rater: str
    trial: Trial
    choice: str
    """``left`` or ``right``."""

    @property
    def winner(self) -> str:
        """System that was preferred."""
        return self.trial.left if self.choice == "left" else self.trial.right

    @property
    def loser(self) -> str:
        """System that was not."""
        return self.trial.right if self.choice == "left" else self.trial.left

    @property
    def attentive(self) -> bool:
        """Whether the damaged picture, if there was one, was turned down."""
        return self.winner != DAMAGED


class Votes:
    """The file of one study. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._lock = Lock()
        with self._use() as database:
            database.executescript(_SCHEMA)

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._connection:
            yield self._connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add_rater(self) -> str:
        """Register somebody who has consented; returns the id that their votes go under."""
        rater = secrets.token_urlsafe(12)
        with self._use() as database:
            database.execute(
                "INSERT INTO raters (id, seed) VALUES (?, ?)", (rater, secrets.randbits(32))
            )
        return rater

    def seed(self, rater: str) -> int:
        """Return the number that decides a rater's trials. Raises KeyError for an unknown one."""
        with self._use() as database:
            row = database.execute("SELECT seed FROM raters WHERE id = ?", (rater,)).fetchone()
        if row is None:
            raise KeyError(rater)
        return int(row[0])

    def answered(self, rater: str) -> int:
        """How many votes a rater has cast."""
        query = "SELECT count(*) FROM trials WHERE rater = ? AND choice IS NOT NULL"
        with self._use() as database:
            return int(database.execute(query, (rater,)).fetchone()[0])

    def ask(self, rater: str, number: int, trial: Trial) -> int:
        """Record that a trial is shown; returns its id, the same one if it is shown again."""
        row = (rater, number, trial.picture, trial.left, trial.right, trial.exposure_s)
        with self._use() as database:
            database.execute(
                "INSERT OR IGNORE INTO trials (rater, number, picture, left, right, exposure_s) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            query = "SELECT id FROM trials WHERE rater = ? AND number = ?"
            return int(database.execute(query, (rater, number)).fetchone()[0])

    def trial(self, trial_id: int) -> Trial:
        """Return a trial that was asked. Raises KeyError for an unknown one."""
        query = "SELECT picture, left, right, exposure_s FROM trials WHERE id = ?"
        with self._use() as database:
            row = database.execute(query, (trial_id,)).fetchone()
        if row is None:
            raise KeyError(trial_id)
        return Trial(*row)

    def cast(self, trial_id: int, choice: str, response_ms: int) -> bool:
        """Record an answer; False if the trial is unknown or has been answered already."""
        query = "UPDATE trials SET choice = ?, response_ms = ? WHERE id = ? AND choice IS NULL"
        with self._use() as database:
            return database.execute(query, (choice, response_ms, trial_id)).rowcount == 1

    def all(self) -> list[Vote]:
        """Return every answer, in the order of the questions."""
        return [Vote(r[0], Trial(*r[1:5]), r[5]) for r in self._rows()]

    def as_csv(self) -> str:
        """Return every answer as CSV with a header."""
        stream = io.StringIO()
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        writer.writerows(self._rows())
        return stream.getvalue()

    def _rows(self) -> list[tuple[str, str, str, str, float | None, str, int]]:
        # The column names are constants of this module.
        query = f"SELECT {', '.join(_COLUMNS)} FROM trials WHERE choice IS NOT NULL ORDER BY id"  # noqa: S608
        with self._use() as database:
            return database.execute(query).fetchall()
