"""How many bytes of tensors are alive at a time, counted without computing anything."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts the storages of all tensors made while it is entered: every operation's, forward and backward.

    A storage counts from the operation that makes it until the last tensor on it is gone, whether Python or
    autograd holds it. What an operation takes and gives back inside itself (a workspace) is not seen.

    Attributes:
        now: bytes alive.
        peak: the most that were alive at a time since `start_over`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def start_over(self) -> None:
        """Take the peak from here on."""
        self.peak = self.now

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and count what it made."""
        if _asks_for_a_number(func, args):
            return _ANY_NUMBER.get(args[0].dtype, 1)
        with unset_fake_temporarily() if _is_a_list_of_axes(func) else nullcontext():
            out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor):
                self._count(each.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)  # torch keeps the Python object of a storage for as long as there is the storage
        if key in self._storages:
            return
        size = storage.nbytes()

        def forget(_: object) -> None:
            del self._storages[key]
            self.now -= size

        self._storages[key] = weakref.ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)


def nothing_computed() -> FakeTensorMode:
    """A mode in which tensors have a shape and a type but neither values nor memory: any size can be tried.

    Tensors made in it go with others of the same mode only; it can be entered again.
    """
    return FakeTensorMode(allow_non_fake_inputs=True)


# An optimiser asks for the number of its step, a loss whether a label is above 1: any answer will do here.
_ANY_NUMBER: Mapping[torch.dtype, Any] = {torch.bool: True, torch.float32: 1.0, torch.float64: 1.0}


def _asks_for_a_number(func: Callable[..., Any], args: Sequence[Any]) -> bool:
    return func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor)


def _is_a_list_of_axes(func: Callable[..., Any]) -> bool:
    """MONAI's losses write the axes that they sum over as `torch.arange(...).tolist()`, which wants values."""
    return getattr(func, "overloadpacket", None) is torch.ops.aten.arange
