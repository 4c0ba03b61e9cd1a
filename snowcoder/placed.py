"""Work of the driver that belongs on other nodes: the head of a cluster has neither the GPU nor the cores for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from snowcoder.base import UserError

if TYPE_CHECKING:
    from snowcoder.config import RunConfig

P = ParamSpec("P")
T = TypeVar("T")


def where_it_scores(config: RunConfig, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `function`, run with the resources of a scoring actor where the recipe gives these a place
    (`ray.labels.annotator`, `ray.score_gpus`), else in this process. A node that dies on it costs one more try.

    Raises UserError when no node has them after `train.wait_for_nodes_seconds`; the task itself asks for nodes.
    """
    settings = config.ray
    labels = settings.labels.annotator
    if not (labels or settings.score_gpus):
        return function(*args, **kwargs)
    import ray

    from train.room import short_of

    task = ray.remote(
        num_cpus=settings.score_cpus,
        num_gpus=settings.score_gpus,
        max_retries=1,
        name=function.__name__,
        label_selector=labels or None,
    )(function)
    asked = task.remote(*args, **kwargs)
    done, _ = ray.wait([asked], timeout=config.train.wait_for_nodes_seconds)
    if not done and (lacks := short_of({"CPU": settings.score_cpus, "GPU": settings.score_gpus}, labels)):
        ray.cancel(asked)
        raise UserError(
            f"{function.__name__}: {'; '.join(lacks)}; add such a node, or change ray.labels.annotator"
        )
    try:
        return ray.get(asked)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):  # without Ray's stack around what the user must mend
            raise error.cause from None
        raise
