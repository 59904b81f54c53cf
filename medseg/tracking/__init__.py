"""MLflow: one training is one run, and it never holds up or ends a training.

`names` decides what may be told and how it is called, `uri` where it goes, `store` speaks to MLflow, `worker`
is the thread that does so, `owner` knows whose runs have died, and `tracker` is the door.
"""

from medseg.tracking.names import metric_name, public_config, public_params
from medseg.tracking.tracker import Tracker
from medseg.tracking.worker import Status

__all__ = ["Status", "Tracker", "metric_name", "public_config", "public_params"]
