"""Face landmarks as lines: the contours that an edge detector misses on a soft face.

The 68 points are those of the iBUG 300-W annotation. Any detector of them fits ``Landmarks``.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

# Points that one smooth curve runs through, in order. Lips and lids meet at an angle, so each is
# a curve of its own.
CURVES: tuple[tuple[int, ...], ...] = (
    tuple(range(17)),  # jaw, from ear to ear
    tuple(range(17, 22)), tuple(range(22, 27)),  # eyebrows
    tuple(range(27, 31)), tuple(range(31, 36)),  # bridge and base of the nose
    (36, 37, 38, 39), (39, 40, 41, 36),  # lids
    (42, 43, 44, 45), (45, 46, 47, 42),
    tuple(range(48, 55)), (*range(54, 60), 48),  # outer lips
    tuple(range(60, 65)), (*range(64, 68), 60),  # inner lips
)  # fmt: skip
JAW = slice(0, 17)
FOREHEAD_HEIGHT = 2 / 3
"""Height of the forehead above the temples, as a share of the jaw's depth below them."""

_DETECTION_SIDE = 256
_WEIGHTS = "shape_predictor_68_face_landmarks.dat"


class Landmarks(Protocol):
    """Finds the landmarks of the largest face of a photograph."""

    def __call__(self, photo: NDArray[np.uint8], /) -> NDArray[np.float64] | None:
        """Return (68, 2) x and y in pixels for a (H, W, 3) RGB photo, None without a face."""


class DlibLandmarks:
    """dlib's frontal face detector and its 68-point shape predictor.

    The predictor's weights, from the package face-recognition-models, were trained on the iBUG
    300-W photographs, whose licence excludes commercial use.
    """

    def __init__(self) -> None:
        """Load the weights; raises ImportError without the extra ``faces``."""
        # Typed loosely: dlib is compiled and publishes no types.
        dlib: Any = importlib.import_module("dlib")
        # Not imported, because that needs a part of setuptools that is no longer there.
        found = importlib.util.find_spec("face_recognition_models")
        if found is None or not found.submodule_search_locations:
            raise ImportError("face_recognition_models is not installed")
        weights = Path(found.submodule_search_locations[0]) / "models" / _WEIGHTS
        self._detect = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(weights))
        self._rectangle = dlib.rectangle
        self._lock = threading.Lock()  # the detector keeps scratch memory between its calls

    def __call__(self, photo: NDArray[np.uint8], /) -> NDArray[np.float64] | None:
        """Return (68, 2) x and y in pixels of the largest face, None without one."""
        # A portrait's face is found as surely in a small copy, many times faster.
        small = max(1, min(photo.shape[:2]) // _DETECTION_SIDE)
        with self._lock:
            for factor in sorted({small, 1}, reverse=True):
                faces = self._detect(np.asarray(Image.fromarray(photo).reduce(factor)), 0)
                if faces:
                    break
            else:
                return None
            face = max(faces, key=lambda box: box.area())
            corners = (face.left(), face.top(), face.right(), face.bottom())
            box = self._rectangle(*(side * factor for side in corners))
            shape = self._predict(photo, box)
        points: list[tuple[int, int]] = [(point.x, point.y) for point in shape.parts()]
        return np.array(points, np.float64)


def installed_landmarks() -> Landmarks | None:
    """Return the detector of the extra ``faces``, None where it is not installed."""
    try:
        return DlibLandmarks()
    except ImportError:
        return None


def draw_face(
    points: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw landmarks (68, 2): the face's lines and the area it covers, both (height, width)."""
    lines = Image.new("L", (width, height))
    pen = ImageDraw.Draw(lines)
    for curve in CURVES:
        pen.line(_flat(_smooth(points[list(curve)])), fill=1)
    area = Image.new("L", (width, height))
    jaw = _smooth(points[JAW])
    ImageDraw.Draw(area).polygon(_flat(np.concatenate([jaw, _forehead(jaw)[::-1]])), fill=1)
    return np.asarray(lines) > 0, np.asarray(area) > 0


def _forehead(jaw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mirror the jaw at the line between its ends, flattened."""
    start, along = jaw[0], jaw[-1] - jaw[0]
    along = along / max(float(np.hypot(*along)), 1e-6)
    foot: NDArray[np.float64] = start + ((jaw - start) @ along)[:, None] * along
    return foot + FOREHEAD_HEIGHT * (foot - jaw)


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a curve through the points, with ten steps from one to the next."""
    from scipy.interpolate import CubicSpline

    # By number, not by distance: closed lips may lay two points on one pixel.
    at = np.arange(len(points))
    curve: NDArray[np.float64] = CubicSpline(at, points)(np.linspace(0, at[-1], 10 * at[-1] + 1))
    return curve


def _flat(points: NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]
