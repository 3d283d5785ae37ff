import pytest

from service.negotiation import choose_format


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "png"),
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/jpeg", "jpeg"),
        ("IMAGE/WEBP", "webp"),
        ("image/jpeg, image/webp", "jpeg"),
        ("image/jpeg;q=0.5, image/webp;q=0.9", "webp"),
        ("image/jpeg; q=0.5 , image/webp ; Q=0.9", "webp"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "png"),
        ("image/avif,image/webp,*/*;q=0.8", "webp"),
        ("*/*, image/png;q=0.1", "jpeg"),
        ("image/*;q=0.9, image/png;q=0, image/jpeg;q=0", "webp"),
        ("image/png;level=1;q=0.2, image/webp;q=0.3", "webp"),
        ("image/jpeg;q=nonsense", "jpeg"),
        ("image/png;q=0", None),
        ("*/*;q=0", None),
        ("text/html", None),
        ("application/json, image/avif", None),
        (";;,,", None),
    ],
)
def test_choice(accept: str | None, chosen: str | None) -> None:
    """Quality decides, then the more specific range, then the order PNG, JPEG, WebP."""
    assert choose_format(accept) == chosen
