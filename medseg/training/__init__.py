"""A bundle's config becomes weights."""

from medseg.bundle.parts import takes_parts
from medseg.training.prepare import prepare
from medseg.training.trainer import Trainer
from medseg.training.validation import Validator

bundle_prepare = takes_parts(
    seed="seed", max_epochs="max_epochs", output_dir="output_dir", device="device", distributed="distributed"
)(prepare)

bundle_trainer = takes_parts(
    device="device",
    max_epochs="max_epochs",
    dataset="train::dataset",
    inferer="train::inferer",
    network="network_def",
    optimizer="optimizer",
    lr_scheduler="lr_scheduler",
    loss="loss",
    validator="validate::evaluator",
    val_interval="val_interval",
    output_dir="output_dir",
    metadata="_meta_",
    precision="precision",
    tracking_uri="tracking_uri",
    cases="cases",
    preprocessing="preprocessing",
    resume="resume",
)(Trainer)

bundle_validator = takes_parts(
    device="device",
    dataset="validate::dataset",
    network="network_def",
    inferer="inferer",
    metadata="_meta_",
    precision="precision",
)(Validator)

__all__ = ["Trainer", "Validator", "bundle_prepare", "bundle_trainer", "bundle_validator", "prepare"]
