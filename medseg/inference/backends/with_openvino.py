"""The backend for CPUs by OpenVINO, an optional package: the only file that imports it."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from medseg.inference.backends.sample_images import another_size, small_image
from medseg.inference.backends.with_torch import TorchForward

_log = logging.getLogger(__name__)

_KEPT_SHAPES = 4  # compiled networks, each with weights of its own; the next case often has the last one's shape
_ALLOWED = 1e-3  # of the largest logit: fp32 against fp32 differs by 1e-4 at most, a wrong conversion by much more


class UnconvertibleError(Exception):
    """A network that OpenVINO cannot compute; its text says why."""


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


class OpenvinoForward:
    """A `Forward` by OpenVINO on the CPU, its inner tensors in `precision`, its logits in fp32.

    The network is followed once (`torch.jit.trace`) on a small image and compared with torch on another image of
    another size, so that one whose `forward` decides by sizes or values is refused. Then it is compiled for
    every window that comes along, windows one by one. The conversion is done without `openvino.convert_model`,
    which reports each use to a server.

    Args:
        network: on the CPU, in eval mode; not changed.
        precision: `torch.float32` or `torch.bfloat16`.
        window: a window that will come, in voxels.
        channels: of the windows.

    Raises:
        UnconvertibleError: saying why.
    """

    name = "openvino"

    def __init__(self, network: torch.nn.Module, precision: torch.dtype, window: Sequence[int], channels: int) -> None:
        self._network = network
        self._precision = precision
        self._model, self._source = _converted(network, window, channels)
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._torch: TorchForward | None = None

    @torch.inference_mode()
    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits `(N, K, *window)` in fp32 of windows `(N, C, *window)`."""
        request = self._request(tuple(batch.shape[1:]))
        if request is None:
            return self._by_torch(batch)
        found: torch.Tensor | None = None
        for place, window in enumerate(batch.split(1)):
            logits = _infer(request, window)
            if found is None:
                found = logits.new_empty((len(batch), *logits.shape[1:]))
            found[place] = logits[0]
        if found is None:
            raise ValueError("no window in the batch")
        return found

    def _request(self, shape: tuple[int, ...]) -> Any:
        """The compiled network for windows of `shape`; None where OpenVINO cannot have it."""
        if shape not in self._compiled:
            try:
                request = _compiled(self._model, (1, *shape), self._precision)
            except Exception as error:  # whatever the network's operations have against the shape
                _log.warning(f"openvino cannot compile windows of {shape}, torch computes them: {_first_line(error)}")
                request = None
            if len(self._compiled) == _KEPT_SHAPES:
                self._compiled.pop(next(iter(self._compiled)))
            self._compiled[shape] = request
        return self._compiled[shape]

    def _by_torch(self, batch: torch.Tensor) -> torch.Tensor:
        if self._torch is None:
            self._torch = TorchForward(self._network, torch.device("cpu"), self._precision)
        return self._torch(batch)


def _converted(network: torch.nn.Module, window: Sequence[int], channels: int) -> tuple[Any, Any]:
    """OpenVINO's model of the network for any size, and what must live as long as it."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of branches that the trace fixes: they are compared below
        try:
            image = small_image(network, window, channels)
            traced = torch.jit.freeze(torch.jit.trace(network, image, check_trace=False))
            decoder = TorchScriptPythonDecoder(traced)
            frontend = FrontEndManager().load_by_framework("pytorch")
            model = frontend.convert(frontend.load(decoder))
            _compare(network, model, image)
        except UnconvertibleError:
            raise
        except Exception as error:  # whatever the network's own forward raises, or OpenVINO of its operations
            raise UnconvertibleError(_first_line(error)) from error
    return model, decoder


def _compare(network: torch.nn.Module, model: Any, image: torch.Tensor) -> None:
    """Refuse a conversion that is wrong for other values or another size than those it was made of."""
    other = 0.5 + 2 * another_size(network, image)
    expected = network(other)
    found = _infer(_compiled(model, tuple(other.shape), torch.float32), other)
    if found.shape != expected.shape or not (found - expected).abs().max() <= _ALLOWED * expected.abs().max():
        raise UnconvertibleError("its forward decides by the size or the values of its input")


def _compiled(model: Any, shape: tuple[int, ...], precision: torch.dtype) -> Any:
    """An inference request for inputs of `shape`, on as many threads as torch takes."""
    import openvino

    model.reshape(list(shape))
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision is torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # other processes compute here too
    }
    return openvino.Core().compile_model(model, "CPU", options).create_infer_request()


def _infer(request: Any, image: torch.Tensor) -> torch.Tensor:
    """Logits of one image; the memory is the request's, until it is called again."""
    found = request.infer([image.contiguous().numpy()], share_inputs=True, share_outputs=True)
    return torch.from_numpy(found[0])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}"
