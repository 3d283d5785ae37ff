"""What the votes say: preference shares with their uncertainty, and whether raters agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, inf

from scipy.stats import binomtest

from training.study.votes import Vote

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Preference:
    """How often one system was preferred to another."""

    system: str
    other: str
    exposure_s: float | None
    """Seconds that the pictures were shown; None = as long as the rater liked."""
    votes: int
    share: float
    """Share of the votes for ``system``, 0..1."""
    low: float
    """Lower end of the Wilson interval at 95 %."""
    high: float


@dataclass(frozen=True)
class Report:
    """The outcome of a study; raters who failed an attention check are left out."""

    raters: int
    excluded_raters: int
    """Raters who preferred a damaged picture."""
    votes: int
    """Votes counted, attention checks not among them."""
    preferences: tuple[Preference, ...]
    pairwise_agreement: float | None
    """Share of pairs of raters who agree on the same question, 0..1; None = no question had two."""
    kappa: float | None
    """Agreement beyond chance (Fleiss' kappa, unequal numbers of raters allowed): 1 = perfect,
    0 = chance. None where it is not defined."""


def summarise(votes: Sequence[Vote]) -> Report:
    """Summarise all votes of a study."""
    inattentive = {vote.rater for vote in votes if not vote.attentive}
    counted = [v for v in votes if v.rater not in inattentive and not v.trial.is_check]
    agreement, kappa = _agreement(counted)
    return Report(
        raters=len({v.rater for v in votes}),
        excluded_raters=len(inattentive),
        votes=len(counted),
        preferences=tuple(_preferences(counted)),
        pairwise_agreement=agreement,
        kappa=kappa,
    )


def _preferences(votes: Sequence[Vote]) -> list[Preference]:
    wins: dict[tuple[str, str, float], Counter[str]] = defaultdict(Counter)
    for vote in votes:
        shown = vote.trial.exposure_s or inf
        wins[(*sorted((vote.winner, vote.loser)), shown)][vote.winner] += 1  # type: ignore[index]
    return [_preference(*key, won) for key, won in sorted(wins.items())]


def _preference(first: str, second: str, shown: float, won: Counter[str]) -> Preference:
    # The larger share first, as people say it: "A was preferred in 70 % of the cases".
    system, other = sorted((first, second), key=lambda name: -won[name])
    interval = binomtest(won[system], won.total()).proportion_ci(CONFIDENCE, method="wilson")
    return Preference(
        system,
        other,
        exposure_s=None if shown == inf else shown,
        votes=won.total(),
        share=won[system] / won.total(),
        low=round(float(interval.low), 4),
        high=round(float(interval.high), 4),
    )


def _agreement(votes: Sequence[Vote]) -> tuple[float | None, float | None]:
    """Agreement on questions that several raters answered, plain and beyond chance."""
    questions: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for vote in votes:
        questions[(vote.trial.picture, *sorted((vote.winner, vote.loser)))].append(vote.winner)
    answers = {key: winners for key, winners in questions.items() if len(winners) > 1}
    agreed = [a == b for winners in answers.values() for a, b in combinations(winners, 2)]
    if not agreed:
        return None, None
    observed = sum(agreed) / len(agreed)
    chance = sum(_chance(pair, answers) for pair in {key[1:] for key in answers}) / len(agreed)
    return observed, None if chance >= 1 else (observed - chance) / (1 - chance)


def _chance(pair: tuple[str, ...], answers: Mapping[tuple[str, ...], list[str]]) -> float:
    """Pairs of raters that would agree by chance, from how often each system was preferred."""
    groups = [winners for key, winners in answers.items() if key[1:] == pair]
    winners = [winner for group in groups for winner in group]
    share = winners.count(pair[0]) / len(winners)
    pairs = sum(comb(len(group), 2) for group in groups)
    return pairs * (share**2 + (1 - share) ** 2)


def as_markdown(report: Report) -> str:
    """Render the report as text with a table."""
    counted = report.raters - report.excluded_raters
    lines = [
        f"{report.votes} votes of {counted} raters, {report.excluded_raters} inattentive left out.",
        "",
        "| preferred | to | shown for | votes | share | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for p in report.preferences:
        shown = "no limit" if p.exposure_s is None else f"{p.exposure_s:g} s"
        lines.append(
            f"| {p.system} | {p.other} | {shown} | {p.votes} | {100 * p.share:.1f} % "
            f"| {100 * p.low:.1f} to {100 * p.high:.1f} % |"
        )
    if report.pairwise_agreement is not None:
        percent = 100 * report.pairwise_agreement
        kappa = "undefined" if report.kappa is None else f"{report.kappa:.2f}"
        lines += ["", f"Two raters of one question agree in {percent:.0f} % (kappa {kappa})."]
    return "\n".join(lines) + "\n"
