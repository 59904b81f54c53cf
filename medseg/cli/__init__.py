"""Words on a command line to one function below."""

import os
import sys

# Torch's threads wait for the next operation by spinning, a millisecond long, on the cores that reading, writing and
# OpenVINO need meanwhile; and it takes memory in pages of 4 kB, half a million for a large CT: docs/benchmarks.md.
# Both have to be told before torch is loaded.
PREDICTS_WITH = {"GOMP_SPINCOUNT": "1000", "THP_MEM_ALLOC_ENABLE": "1"}

if sys.argv[1:2] == ["predict"]:
    os.environ.update(PREDICTS_WITH | os.environ)
