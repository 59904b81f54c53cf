"""The wiring between a bundle's parts, once in code instead of in every bundle's config."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from medseg.bundle.running import running_parser

T = TypeVar("T")


def takes_parts(**ids: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a component take the arguments that a config does not give from the config's ids.

    `bundle_trainer = takes_parts(network="network_def")(Trainer)`, then in a config
    `trainer: {_target_: medseg.training.bundle_trainer, batch_size: 4}`: `network` is the part with the
    id `network_def`, built once and shared. An id that the config lacks leaves the argument's default.

    Args:
        ids: argument name -> the id of the part.
    """

    def decorate(component: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(component)
        def filled(**given: Any) -> T:
            parser = running_parser()
            if parser is not None:
                for argument, id in ids.items():
                    if argument not in given and id in parser:
                        given[argument] = parser.get_parsed_content(id)
            return component(**given)

        filled.__signature__ = inspect.signature(component)  # type: ignore[attr-defined]
        return filled

    return decorate
