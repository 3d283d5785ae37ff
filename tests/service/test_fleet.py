"""The simulated fleet: Kubernetes' rules, and loads that it holds or does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from service.batch_curve import BatchCurve
from service.batching import Limits
from service.fleet import Fleet, Outcome, Scenario, spike
from service.fleet_report import about, draw, markdown
from service.fleet_scaling import Autoscaler, Scaling, read_values

CHART = Path(__file__).parents[2] / "k8s" / "hdsynth"
RULE = Scaling(kind="hpa", max_replicas=50, target_wait_s=1.0)


def decide(scaler: Autoscaler, now: float, count: int, wait: float, busy: float = 0.0) -> int:
    """What the autoscaler wishes for when all ``count`` servers have the same wait."""
    return scaler.decide(now, count, np.full(count, wait), busy)


def test_the_chart_s_values_are_read() -> None:
    """As they are in the repository, and with another kind of autoscaler."""
    values = read_values(CHART / "values.yaml", "keda")
    assert values.scaling.kind == "keda"
    assert values.scaling.max_replicas >= values.scaling.min_replicas
    assert values.max_wait_s > 0


def test_values_of_something_else_are_refused(tmp_path: Path) -> None:
    """The message names the file and the value."""
    (tmp_path / "v.yaml").write_text("autoscaling: {}\n")
    with pytest.raises(ValueError, match=r"v\.yaml: lacks 'server'"):
        read_values(tmp_path / "v.yaml")


def test_numbers_follow_the_metric_s_average() -> None:
    """Within 10 % of the target nothing happens; above, the number rises, at most to the double."""
    assert decide(Autoscaler(RULE), 0, 10, 1.05) == 10
    assert decide(Autoscaler(RULE), 0, 10, 1.5) == 15
    assert decide(Autoscaler(RULE), 0, 10, 9.0) == 20
    assert decide(Autoscaler(dataclasses.replace(RULE, max_replicas=12)), 0, 10, 9.0) == 12


def test_doubling_takes_its_period() -> None:
    """What was added within 30 seconds counts, so that 10 become 20 and not 40."""
    scaler = Autoscaler(RULE)
    assert [decide(scaler, at, n, 9.0) for at, n in ((0, 10), (15, 20), (30, 20))] == [20, 20, 40]


def test_servers_go_one_a_minute_after_a_steady_wish() -> None:
    """The largest wish of five minutes holds; then one goes, and the next a minute later."""
    scaler = Autoscaler(RULE)
    assert decide(scaler, 0, 10, 1.0) == 10
    counts, count = [], 10
    for at in range(15, 500, 15):
        count = decide(scaler, at, count, 0.0)
        counts.append(count)
    assert counts[:19] == [10] * 19
    assert counts[20] == 9
    assert counts[-1] in {6, 7}


def test_busy_engines_are_a_second_metric() -> None:
    """The larger wish of the two counts."""
    scaler = Autoscaler(dataclasses.replace(RULE, target_busy=0.6))
    assert decide(scaler, 0, 10, 0.1, 0.9) == 15
    assert decide(scaler, 60, 10, 2.0, 0.1) == 20


def scenario(scaling: Scaling, **changes: object) -> Scenario:
    """A spike of an hour and a half, on engines of 20 images/s."""
    made = Scenario(
        name="spike",
        load=spike(200),
        seconds=5400,
        curve=BatchCurve(0.05),
        scaling=scaling,
        limits=Limits(max_wait_s=2.0),
        replicas=6,
        goal_s=1.0,
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """The same spike with ever more servers; and with an autoscaler."""
    found = {str(n): Fleet(scenario(Scaling(kind="off"), replicas=n)).run() for n in (2, 6, 12, 16)}
    auto = Scaling(kind="hpa", max_replicas=30, target_busy=0.5)
    return found | {"auto": Fleet(scenario(auto)).run()}


def test_nothing_is_lost(outcomes: dict[str, Outcome]) -> None:
    """Arrivals are served, shed, or still waiting, whatever the number of servers does."""
    for outcome in outcomes.values():
        total = outcome.total
        assert total.arrived == total.served + total.shed + outcome.waiting
        assert total.arrived == pytest.approx(60 * 4800 + 200 * 600, rel=0.02)


def test_more_servers_are_never_worse(outcomes: dict[str, Outcome]) -> None:
    """Fewer refusals, shorter waits, higher cost."""
    fixed = [outcomes[name] for name in ("2", "6", "12", "16")]
    assert [o.shed_part for o in fixed] == sorted((o.shed_part for o in fixed), reverse=True)
    assert [o.p99_s for o in fixed] == sorted((o.p99_s for o in fixed), reverse=True)
    assert [o.replica_s for o in fixed] == [n * 5400 for n in (2, 6, 12, 16)]
    assert not fixed[0].holds
    assert fixed[-1].holds


def test_the_autoscaler_follows_the_load(outcomes: dict[str, Outcome]) -> None:
    """Servers come with the spike, after their start, and go again later."""
    auto = outcomes["auto"]
    serving = {round(m.at_s / 60): m.serving for m in auto.minutes}
    assert serving[31] < serving[36] <= 30
    assert serving[90] < serving[40]
    assert auto.shed_part < outcomes["6"].shed_part


def test_the_report_says_what_happened(outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    """A row for each, the assumptions in words, and a picture."""
    table = markdown([outcomes["2"], outcomes["16"]], price=2.0)
    rows = [line.split(" | ") for line in table.splitlines()]
    assert (rows[2][-2], rows[3][-2]) == ("no", "yes")
    assert float(rows[3][-1].rstrip(" |")) == pytest.approx(
        2 * outcomes["16"].hours_per_million, 0.01
    )
    assert "16 servers, no autoscaler" in about(outcomes["16"])
    draw(tmp_path / "plot.svg", [outcomes["16"]])
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8").startswith("<?xml")
