"""What can go wrong: HdsynthError, of which there are two kinds."""


class HdsynthError(Exception):
    """Base of all errors of this package."""


class ConnectionFailedError(HdsynthError):
    """The server could not be reached, or broke off."""


class ServiceError(HdsynthError):
    """The server did not serve the request."""

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        request_id: str = "",
        retry_after_s: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        """Stable code, such as LABEL_OUT_OF_RANGE or QUEUE_FULL."""
        self.detail = detail
        """The field, the offending value and the fix."""
        self.request_id = request_id
        """Under which the server logged the request."""
        self.retry_after_s = retry_after_s
        """Seconds after which to come back, if the server named any."""
        self.retryable = retryable
        """Whether the same request may succeed later."""
