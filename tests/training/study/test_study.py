"""The preference study: trials, votes, report, and the page in a real browser."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from training.study.report import as_markdown, summarise
from training.study.trials import CHECK_EVERY, DAMAGED, EXPOSURES_S, Study, Trial
from training.study.votes import Vote, Votes

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of two systems: `good` is green, `poor` is red."""
    root = tmp_path_factory.mktemp("study")
    chance = np.random.default_rng(0)
    for name, channel in (("good", 1), ("poor", 0)):
        (root / name).mkdir()
        for number in range(6):
            picture = chance.integers(0, 40, (48, 64, 3)).astype(np.uint8)
            picture[..., channel] += 200
            Image.fromarray(picture).save(root / name / f"scene{number}.png")
    return [root / "good", root / "poor"]


def votes_for(
    system: str, other: str, count: int, rater: str = "r", picture: str = "p"
) -> list[Vote]:
    """Votes that all prefer one system."""
    return [Vote(rater, Trial(picture, system, other, None), "left")] * count


def test_sides_and_pictures_are_drawn_at_random(folders: list[Path]) -> None:
    """Both systems stand on both sides, and every picture comes up."""
    study = Study(folders)
    trials = [study.draw(random.Random(i), 0) for i in range(200)]  # noqa: S311
    lefts = Counter(trial.left for trial in trials)
    assert set(lefts) == {"good", "poor"}
    assert min(lefts.values()) > 60
    assert {trial.picture for trial in trials} == {f"scene{i}" for i in range(6)}


def test_every_tenth_trial_is_a_check_without_time_limit(folders: list[Path]) -> None:
    """Attention checks come regularly, also in a timed study."""
    study = Study(folders, timed=True)
    trials = [study.draw(random.Random(i), i) for i in range(2 * CHECK_EVERY)]  # noqa: S311
    checks = [trial for trial in trials if trial.is_check]
    assert [trial.exposure_s for trial in checks] == [None, None]
    assert {t.exposure_s for t in trials if not t.is_check} <= set(EXPOSURES_S)


@pytest.mark.parametrize("count", [0, 1])
def test_a_study_needs_two_folders(folders: list[Path], count: int) -> None:
    """One system has nothing to be compared with."""
    with pytest.raises(ValueError, match="at least two folders"):
        Study(folders[:count])


def test_folders_without_a_common_picture_are_refused(folders: list[Path], tmp_path: Path) -> None:
    """The message names the folders."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no picture has the same file name in all of .*empty"):
        Study([folders[0], tmp_path / "empty"])


def test_share_and_wilson_interval() -> None:
    """70 of 100 votes give 70 %, with the interval of the Wilson score."""
    report = summarise(votes_for("a", "b", 70) + votes_for("b", "a", 30))
    (preference,) = report.preferences
    assert (preference.system, preference.votes, preference.share) == ("a", 100, 0.7)
    # Wilson, n = 100, p = 0.7, z = 1.96: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    assert (preference.low, preference.high) == pytest.approx((0.6042, 0.7811), abs=2e-4)
    assert "| a | b | no limit | 100 | 70.0 % | 60.4 to 78.1 % |" in as_markdown(report)


def test_inattentive_raters_are_left_out() -> None:
    """Who prefers a damaged picture counts nowhere else."""
    careless = [Vote("x", Trial("p", DAMAGED, "a", None), "left"), *votes_for("b", "a", 5, "x")]
    careful = [Vote("y", Trial("p", DAMAGED, "a", None), "right"), *votes_for("a", "b", 5, "y")]
    report = summarise(careless + careful)
    assert (report.raters, report.excluded_raters, report.votes) == (2, 1, 5)
    assert report.preferences[0].share == 1.0


def test_agreement_beyond_chance() -> None:
    """Kappa is Fleiss' for two raters and two answers."""

    def answer(rater: str, picture: str, winner: str) -> Vote:
        return Vote(rater, Trial(picture, "a", "b", None), "left" if winner == "a" else "right")

    votes = [answer(rater, str(i), winner) for rater, winners in (("x", "aabb"), ("y", "aaba"))
             for i, winner in enumerate(winners)]  # fmt: skip
    report = summarise(votes)
    # Agreement 3/4; a was chosen 5/8 of the time, so chance is 25/64 + 9/64 = 34/64.
    assert report.pairwise_agreement == 0.75
    assert report.kappa == pytest.approx((0.75 - 34 / 64) / (1 - 34 / 64))


def test_agreement_needs_a_common_question() -> None:
    """Without one nothing is claimed."""
    report = summarise(votes_for("a", "b", 1))
    assert (report.pairwise_agreement, report.kappa) == (None, None)


def test_votes_are_kept_and_exported(tmp_path: Path) -> None:
    """An answer outlives the server, is stored once, and comes out as CSV."""
    votes = Votes(tmp_path / "study.sqlite")
    rater = votes.add_rater()
    trial_id = votes.ask(rater, 0, Trial("p", "a", "b", 0.5))
    assert votes.ask(rater, 0, Trial("p", "a", "b", 0.5)) == trial_id
    assert votes.cast(trial_id, "right", 1200)
    assert not votes.cast(trial_id, "left", 1300)
    votes.close()
    again = Votes(tmp_path / "study.sqlite")
    assert [vote.winner for vote in again.all()] == ["b"]
    assert again.as_csv().splitlines()[1] == f"{rater},p,a,b,0.5,right,1200"
    again.close()


@pytest.fixture
def served(folders: list[Path], tmp_path: Path) -> Iterator[dict[str, str]]:
    """A running `hdsynth study`; its addresses by name."""
    command = [
        sys.executable, "-c", "from cli.main import main; main()", "study", *map(str, folders),
        "--database", str(tmp_path / "study.sqlite"), "--port", "0", "--votes", "20",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(3)]
    addresses = dict(line.strip().split(maxsplit=1) for line in lines)
    while True:
        try:
            httpx.get(addresses["raters:"])
            break
        except httpx.ConnectError:
            assert process.poll() is None
    yield addresses
    process.terminate()
    process.wait()
    process.stderr.close()


def test_report_needs_the_key(served: dict[str, str]) -> None:
    """Raters cannot read the result."""
    assert httpx.get(served["raters:"] + "report").status_code == 403
    assert httpx.get(served["report:"]).status_code == 200


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium")
def test_forty_votes_in_a_browser_recover_a_known_preference(served: dict[str, str]) -> None:
    """Two raters who prefer `good` in 7 of 10 cases give a report whose interval holds 70 %."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(2):
            page = browser.new_page()
            page.goto(served["raters:"])
            page.click("#agree")
            for number in range(20):
                page.wait_for_selector("#pair:not(.concealed)")
                page.get_by_text(f"{number + 1} of 20", exact=True).wait_for()
                page.click("#left" if _prefers_left(page, number) else "#right")
            page.wait_for_selector("#thanks:not([hidden])")
            assert page.context.cookies() == []
        browser.close()
    report = httpx.get(served["report:"], headers={"Accept": "application/json"}).json()
    assert (report["raters"], report["excluded_raters"], report["votes"]) == (2, 0, 36)
    (preference,) = report["preferences"]
    assert preference["system"] == "good"
    assert preference["low"] <= 0.7 <= preference["high"]
    rows = httpx.get(served["report:"].replace("/report?", "/votes.csv?")).text.splitlines()
    assert len(rows) == 41, json.dumps(report)


def _prefers_left(page: object, number: int) -> bool:
    """What a rater does who likes green pictures 7 times out of 10, and never damaged ones."""
    looks = """side => {
        const image = document.querySelector('#' + side + ' img');
        const canvas = document.createElement('canvas');
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const drawing = canvas.getContext('2d');
        drawing.drawImage(image, 0, 0);
        const data = drawing.getImageData(0, 0, canvas.width, canvas.height).data;
        let changes = 0;
        for (let i = 4; i < data.length; i += 4) changes += data[i] !== data[i - 4];
        return {green: data[1] > data[0], flat: changes < data.length / 8};
    }"""
    left, right = (page.evaluate(looks, side) for side in ("left", "right"))  # type: ignore[attr-defined]
    if left["flat"] != right["flat"]:
        return bool(right["flat"])
    likes_green = number % 10 < 7
    return bool(left["green"]) == likes_green
