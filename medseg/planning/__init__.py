"""Before a training: what it will need."""

from medseg.planning.memory import Footprint, Plan, plan_memory

__all__ = ["Footprint", "Plan", "plan_memory"]
