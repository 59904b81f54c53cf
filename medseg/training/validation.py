"""Validation during training: whole volumes by sliding window, Dice per class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.data import DataLoader, Dataset, DistributedSampler
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from monai.utils.enums import CommonKeys as Keys
from numpy.typing import NDArray

from medseg.bundle.metadata import class_names
from medseg.device import autocast, check_device, pick_precision, plain_tensor
from medseg.inference.quality.verdict import mean_confidence
from medseg.training.batch_errors import told_of_batch
from medseg.training.prepare import rank, world_size

KEY_METRIC = "val_dice"


class DicePerClass(Metric):
    """Mean over cases of the Dice of every class, from label maps `(N, 1, spatial...)` of integers.

    A case where a class is in neither label nor segmentation is left out of that class's mean; a missed
    class counts 0. `compute` gives `{class name: Dice}`; a class absent everywhere gives NaN.
    """

    def __init__(self, names: Mapping[int, str], output_transform: Callable[[Any], Any]) -> None:
        self._names = dict(names)
        super().__init__(output_transform=output_transform)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget every case."""
        self._sum = torch.zeros(len(self._names), dtype=torch.float64)
        self._count = torch.zeros(len(self._names), dtype=torch.float64)

    @reinit__is_reduced
    def update(self, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Add one batch of (segmentation, label)."""
        for segmentation, label in zip(*output, strict=True):
            for index, value in enumerate(self._names):
                mine, true = segmentation == value, label == value
                size = int(mine.sum() + true.sum())
                if size:
                    self._sum[index] += 2 * int((mine & true).sum()) / size
                    self._count[index] += 1

    @sync_all_reduce("_sum", "_count")
    def compute(self) -> dict[str, float]:
        """Dice per class name."""
        means = self._sum / self._count
        return dict(zip(self._names.values(), means.tolist(), strict=True))


class Validator(SupervisedEvaluator):
    """MONAI evaluator of label maps: sliding window under autocast, Dice per class.

    After a run `state.metrics` holds `val_dice` (mean over the classes that occur) and `val_dice/NAME`
    for every class, `shown` the first cases for a picture, and `confidences` the mean confidence of every case in
    which something was segmented (see `quality.mean_confidence`). `has_cases` tells whether there is anything to run.

    Args:
        device: where the network is.
        dataset: of `{"image": (C, spatial...), "label": (1, spatial...)}`, preprocessed, one case each.
        network: shared with the trainer.
        inferer: such as `SlidingWindowInferer`; the same that users will run.
        metadata: of the bundle; gives the class names.
        precision: see `medseg.device.pick_precision`.
        show: how many cases to keep for a picture.
    """

    def __init__(
        self,
        *,
        device: str | torch.device,
        dataset: Dataset,
        network: torch.nn.Module,
        inferer: Inferer,
        metadata: Mapping[str, Any],
        precision: str = "auto",
        show: int = 3,
    ) -> None:
        device = check_device(device)
        # With fewer cases than processes each process takes them all; the means stay the same.
        shared_out = 1 < world_size() <= len(dataset)
        sampler = DistributedSampler(dataset, shuffle=False, even_divisible=False) if shared_out else None
        self.dataset = dataset
        self.has_cases = len(dataset) > 0
        self._precision = pick_precision(device, precision)
        self._show = show if rank() == 0 else 0
        self.shown: list[dict[str, NDArray[Any]]] = []
        self.confidences: list[float] = []
        super().__init__(
            device=device,
            val_data_loader=DataLoader(dataset, batch_size=1, sampler=sampler),
            network=network.to(device),
            inferer=inferer,
            iteration_update=self._segment,
            decollate=False,
        )
        names = class_names(metadata)
        DicePerClass(names, lambda output: (output[Keys.PRED], output[Keys.LABEL])).attach(self, "dice_per_class")
        for kept in (self.shown, self.confidences):
            self.add_event_handler(Events.STARTED, lambda _, kept: kept.clear(), kept)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._name_metrics)
        if shared_out:
            self.add_event_handler(Events.EPOCH_COMPLETED, self._gather_confidences)

    def _segment(self, _engine: Engine, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        image, label = (plain_tensor(batch[key], self.state.device) for key in (Keys.IMAGE, Keys.LABEL))
        self.network.eval()
        with told_of_batch(image), torch.no_grad(), autocast(self.state.device, self._precision):
            logits = self.inferer(image, self.network)
        segmentation = logits.argmax(dim=1, keepdim=True)
        confidence = mean_confidence(logits[0], segmentation[0, 0])
        self.confidences += [] if confidence is None else [confidence]
        if len(self.shown) < self._show:
            seen = image.mean(dim=1, keepdim=True) if image.ndim == 4 else image  # colours as one grey
            arrays = {"image": seen, "label": label, "segmentation": segmentation}
            self.shown.append({key: value[0, 0].float().cpu().numpy() for key, value in arrays.items()})
            self.shown[-1]["affine"] = np.asarray(getattr(batch[Keys.IMAGE], "affine", torch.eye(4)[None])[0])
        return {Keys.PRED: segmentation, Keys.LABEL: label}

    def _gather_confidences(self, _engine: Engine) -> None:
        parts: list[list[float]] = [[] for _ in range(world_size())]
        dist.all_gather_object(parts, self.confidences)
        self.confidences[:] = chain.from_iterable(parts)

    def _name_metrics(self, _engine: Engine) -> None:
        per_class = self.state.metrics.pop("dice_per_class")
        for name in per_class:
            self.state.metrics.pop(name, None)  # ignite spreads a metric that is a dict over the names as well
        present = [value for value in per_class.values() if not np.isnan(value)]
        self.state.metrics[KEY_METRIC] = float(np.mean(present)) if present else 0.0
        self.state.metrics.update({f"{KEY_METRIC}/{name}": value for name, value in per_class.items()})
