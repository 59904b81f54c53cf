"""The speed of the network itself: one way to call it, several to compute it."""

from medseg.inference.backends.forward import Forward
from medseg.inference.backends.with_torch import TorchForward

__all__ = ["Forward", "TorchForward"]
