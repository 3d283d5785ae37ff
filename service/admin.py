"""The REST face of the model manager, for the holders of the keys that the settings name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from service.errors import ServiceError
from service.model_manager import ModelManager
from service.openapi import problems
from service.rest import ModelName
from service.schemas import ModelSourceText, ModelStatus


def model_manager(request: Request) -> ModelManager:
    """Return what changes the models. Raises ServiceError PERMISSION_DENIED."""
    caller = getattr(request.state, "caller", "")
    if not caller or caller not in request.app.state.admin_keys:
        raise ServiceError(
            "PERMISSION_DENIED",
            "models are loaded and unloaded with the API keys that the setting admin_keys names",
        )
    manager: ModelManager = request.app.state.manager
    return manager


Manager = Annotated[ModelManager, Depends(model_manager)]
NewName = Annotated[
    str,
    Path(alias="model", description="name of a model", pattern=r"^[\w.-]{1,64}$"),
]
_PROBLEMS: Any = problems(
    *("UNAUTHENTICATED", "PERMISSION_DENIED", "RATE_LIMITED", "MODEL_NOT_FOUND", "MODEL_LOADING"),
    *(
        "INVALID_MESSAGE",
        "LOAD_FAILED",
        "INVALID_FIELD",
        "MISSING_FIELD",
        "UPLOAD_TOO_LARGE",
        "UPLOAD_TOO_SLOW",
    ),
)
router = APIRouter(prefix="/v1/models", tags=["models"])


@router.post("/{model}:load", summary="Serve a model from a source", responses=_PROBLEMS)
async def load(model: NewName, body: ModelSourceText, manager: Manager) -> ModelStatus:
    """Load a model, and answer when it is ready; one of the same name is served until then."""
    served = (await manager.load(model, body.source)).description
    return ModelStatus(name=served.name, version=served.version, state="ready")


@router.post("/{model}:reload", summary="Load a model again", responses=_PROBLEMS)
async def reload(model: ModelName, manager: Manager) -> ModelStatus:
    """Load what lies where the model came from; the version served now is served until then."""
    served = (await manager.reload(model)).description
    return ModelStatus(name=served.name, version=served.version, state="ready")


@router.post("/{model}:unload", summary="Serve a model no longer", status_code=204,
             responses=_PROBLEMS)  # fmt: skip
async def unload(model: ModelName, manager: Manager) -> None:
    """Remove a model; requests that have begun are finished."""
    await manager.unload(model)
