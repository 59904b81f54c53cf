"""The speed of the network itself: one way to call it, several to compute it."""

from medseg.inference.backends.choice import BACKENDS, prepare
from medseg.inference.backends.forward import Forward

__all__ = ["BACKENDS", "Forward", "prepare"]
