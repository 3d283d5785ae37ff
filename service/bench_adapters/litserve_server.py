"""The model behind LitServe: ``max_batch_size``, one worker, its default of no batch timeout."""

# LitServe looks at annotations, which must not be strings.
from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np
import work  # type: ignore[import-not-found]
from starlette.requests import Request
from starlette.responses import Response


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Label and instance map in, JPEG out."""

    def setup(self, device: str) -> None:  # noqa: ARG002, the interface is LitServe's
        """Load the model."""
        self.model = work.Model()

    def decode_request(self, request: Request) -> Any:
        """Read the form, which LitServe hands over in place of the request."""
        form: Any = request
        return work.decode(form["label"].file.read(), form["instance"].file.read())

    def batch(self, inputs: Any) -> Any:
        """Stack maps of one size."""
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        """Run the model."""
        return self.model.run(x)

    def unbatch(self, output: Any) -> Any:
        """Take the photographs apart."""
        return list(output)

    def encode_response(self, output: Any) -> Response:
        """Write the answer."""
        return Response(work.encode(output), media_type="image/jpeg")


if __name__ == "__main__":
    api = Api(max_batch_size=work.MAX_BATCH, batch_timeout=0.0, api_path="/v1/synthesize")
    server = litserve.LitServer(api, accelerator="cpu", timeout=120)
    server.run(
        host="127.0.0.1", port=work.PORT, generate_client_file=False, log_level="warning",
        access_log=False,
    )  # fmt: skip
