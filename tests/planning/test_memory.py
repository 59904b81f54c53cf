"""What steps need: counted as exactly as real tensors take it, growing as it must."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import UNet

from medseg.bundle.run import find_bundle
from medseg.errors import BundleError, ConfigError
from medseg.networks.live_tensors import LiveTensors, nothing_computed
from medseg.planning import plan_memory
from medseg.planning.gauges import Counted, Measured
from medseg.planning.memory import MOST, largest_that_fits, parse_size
from medseg.planning.steps import MODES, InferenceStep, Mode, build_step

CPU = torch.device("cpu")
RETINA, HIPPOCAMPUS = "retina_vessels_2d", "hippocampus_mri_3d"
SIZES = {RETINA: (64, 64), HIPPOCAMPUS: (24, 32, 16)}
FORMATS = (torch.float32, torch.bfloat16)

every_step = pytest.mark.parametrize("mode", MODES)
both_bundles = pytest.mark.parametrize("bundle", [RETINA, HIPPOCAMPUS])


class TestAlive:
    def test_counts_until_the_last_tensor_on_a_storage_is_gone(self) -> None:
        with LiveTensors() as alive:
            first = torch.zeros(100)
            view = first[10:20]
            assert alive.now == 400
            del first
            assert alive.now == 400
            second = view + 1
            assert alive.now == 440
            del view, second
        assert (alive.now, alive.peak) == (0, 440)

    def test_counts_what_autograd_keeps(self) -> None:
        with LiveTensors() as alive:
            weight = torch.ones(100, requires_grad=True)
            loss = (weight.exp() * 2).sum()
            assert alive.now == 400 + 400 + 4, "the result of exp is kept for the way back, its double is not"
            loss.backward()
            assert alive.now == 400 + 400 + 4, "the gradient is in its place"

    def test_peak_is_taken_anew(self) -> None:
        with LiveTensors() as alive:
            torch.zeros(100)
            alive.start_over()
            torch.zeros(10)
        assert alive.peak == 40

    def test_without_computing_any_size_has_its_bytes(self) -> None:
        with nothing_computed(), LiveTensors() as alive:
            image = torch.zeros(1 << 20, 1 << 20)
            assert alive.now == image.nbytes == 1 << 42
            assert (image.sum().item(), bool(image.any())) == (1.0, True), "any answer, but an answer"
            assert torch.arange(2, 4).tolist() == [2, 3], "small numbers are what they are"


def real_peak(bundle: str, mode: Mode, precision: torch.dtype, batch: int) -> int:
    """What the tensors of a step take that is computed."""
    with LiveTensors() as alive:
        step = build_step(find_bundle(bundle), mode, CPU, precision)
        step(batch, SIZES[bundle])
        alive.start_over()
        step(batch, SIZES[bundle])
    return alive.peak


@both_bundles
@every_step
@pytest.mark.parametrize("precision", FORMATS)
def test_count_is_what_the_tensors_of_a_real_step_take(bundle: str, mode: Mode, precision: torch.dtype) -> None:
    counted = Counted(find_bundle(bundle), mode, precision).peak(2, SIZES[bundle])
    assert counted == pytest.approx(real_peak(bundle, mode, precision, 2), rel=2e-3)


@both_bundles
def test_count_is_near_what_the_allocator_of_the_cpu_gave(bundle: str) -> None:
    """Tensors are most of it; the rest is what operations take and give back inside themselves."""
    counted = Counted(find_bundle(bundle), "training", torch.float32).peak(2, SIZES[bundle])
    assert 1 <= allocated_peak(bundle) / counted < 1.5


def allocated_peak(bundle: str) -> int:
    """The most that torch's allocator had given away in a real training step, by its profiler."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step = build_step(find_bundle(bundle), "training", CPU, torch.float32)
        step(2, SIZES[bundle])
        step(2, SIZES[bundle])
    now = peak = 0
    events = [each for each in profile.profiler.kineto_results.events() if each.name() == "[memory]"]
    for event in sorted(events, key=lambda each: each.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def test_step_is_the_trainers(train_phantom: Callable[..., Any], tmp_path: Path, tiny_bundle: Path) -> None:
    """The trainer's own iteration, counted, needs what the plan says."""
    size, batch = (32, 32, 16), 4
    trainer = train_phantom(tmp_path, precision="fp32")
    with LiveTensors() as alive:
        images = {"image": torch.zeros(batch, 1, *size), "label": torch.zeros(batch, 1, *size)}
        trainer._train_on_batch(None, images)
    own = [*trainer.network.parameters(), *trainer.network.buffers()]
    states = [each for state in trainer.optimizer.state.values() for each in state.values()]
    there_before = sum(each.nbytes for each in (*own, *states))
    planned = Counted(tiny_bundle, "training", torch.float32).peak(batch, size)
    assert alive.peak + there_before == pytest.approx(planned, rel=0.01)


@both_bundles
@every_step
@pytest.mark.parametrize("precision", FORMATS)
def test_count_is_affine_in_the_batch(bundle: str, mode: Mode, precision: torch.dtype) -> None:
    gauge = Counted(find_bundle(bundle), mode, precision)
    size = tuple(side * 2 for side in SIZES[bundle])
    one, two, three, nine = (gauge.peak(batch, size) for batch in (1, 2, 3, 9))
    assert two - one == three - two == (nine - one) / 8 > 0
    assert one - (two - one) >= gauge.weights


@both_bundles
@every_step
def test_count_grows_with_the_size(bundle: str, mode: Mode) -> None:
    gauge = Counted(find_bundle(bundle), mode, torch.float32)
    amounts = []
    for factor in (1, 2, 4):
        size = tuple(side * factor for side in SIZES[bundle])
        amounts.append(gauge.peak(2, size) - gauge.peak(1, size))
    growth = 2 ** len(SIZES[bundle])
    assert [after / before for before, after in pairwise(amounts)] == pytest.approx([growth, growth], rel=0.05)


def test_training_needs_more_than_inference_and_fp32_more_than_bf16() -> None:
    peaks = {
        (mode, precision): Counted(find_bundle(RETINA), mode, precision).peak(4, (64, 64))
        for mode in MODES
        for precision in FORMATS
    }
    (train_32, train_16), (infer_32, infer_16) = ([peaks[mode, each] for each in FORMATS] for mode in MODES)
    assert train_32 > train_16 > infer_16 and infer_32 > infer_16


def test_optimiser_of_adam_has_two_states_per_weight() -> None:
    gauge = Counted(find_bundle(RETINA), "training", torch.float32)
    gauge.peak(1, (64, 64))
    assert gauge.optimizer == pytest.approx(2 * gauge.weights, rel=0.01)


@both_bundles
@every_step
def test_largest_batch_fits_and_one_more_does_not(bundle: str, mode: Mode) -> None:
    text = "x".join(map(str, SIZES[bundle]))
    plan = plan_memory(find_bundle(bundle), [text], device=CPU, modes=[mode], limits_gib=[0.2, 0.4], precision="fp32")
    (found,) = plan.footprints
    gauge = Counted(find_bundle(bundle), mode, torch.float32)
    for limit, batch in found.largest.items():
        assert 1 < batch < MOST
        assert gauge.peak(batch, found.size) <= limit < gauge.peak(batch + 1, found.size)
    assert found.step == gauge.peak(found.batch, found.size)


def test_nothing_fits_in_less_than_the_weights() -> None:
    plan = plan_memory(find_bundle(RETINA), ["64x64"], device=CPU, limits_gib=[0.001])
    assert [set(each.largest.values()) for each in plan.footprints] == [{0}, {0}]


@pytest.mark.parametrize(
    ("bundle", "asked", "taken"),
    [
        (RETINA, "61x64", (64, 64)),
        (RETINA, "64x64", (64, 64)),
        (HIPPOCAMPUS, "37x50x35", (40, 56, 40)),
        (HIPPOCAMPUS, "8x8x8", (16, 16, 16)),  # one voxel at the bottom has no variance
    ],
)
def test_size_goes_up_to_the_next_that_the_network_takes(bundle: str, asked: str, taken: tuple[int, ...]) -> None:
    plan = plan_memory(find_bundle(bundle), [asked], device=CPU, modes=["training"], limits_gib=[0.001])
    assert plan.footprints[0].size == taken


def test_footprints_are_in_the_order_that_was_asked_for() -> None:
    plan = plan_memory(find_bundle(RETINA), ["128x64", "64x64"], device=CPU, limits_gib=[1])
    assert [(each.asked, each.mode) for each in plan.footprints] == [
        ((128, 64), "training"),
        ((128, 64), "inference"),
        ((64, 64), "training"),
        ((64, 64), "inference"),
    ]


@pytest.mark.parametrize("answer", [0, 1, 2, 3, 37, MOST - 1, MOST])
@pytest.mark.parametrize("guess", [-5, 0, 1, 36, 37, 38, MOST, 10**9])
def test_search_finds_the_largest_with_few_tries(answer: int, guess: int) -> None:
    tries: list[int] = []

    def fits(number: int) -> bool:
        tries.append(number)
        return number <= answer

    assert largest_that_fits(fits, guess) == answer
    assert len(tries) == len(set(tries)) <= (2 if guess == answer else 30)


@pytest.mark.parametrize(
    ("text", "dims", "message"),
    [
        ("abc", 2, "size 'abc': no size; give one such as 640x959"),
        ("64", 2, "size '64': no size; give one such as 640x959"),
        ("64x64x", 3, "size '64x64x': no size; give one such as 96x96x64"),
        ("64x-64", 2, "size '64x-64': no size"),
        ("64x64", 3, "size '64x64': has 2 dimensions, this bundle's network takes 3; give one such as 96x96x64"),
        ("64x64x64", 2, "size '64x64x64': has 3 dimensions, this bundle's network takes 2; give one such as 640x959"),
        ("64x0", 2, "size '64x0': no side can be 0"),
    ],
)
def test_what_is_no_size_is_told(text: str, dims: int, message: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_size(text, dims)
    assert str(told.value).startswith(message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 0}, "batch 0: give a whole number of at least 1"),
        ({"limits_gib": [0]}, "limit 0: give a number of GiB above 0"),
        ({"precision": "fp8"}, "precision 'fp8' on cpu: use"),
    ],
)
def test_wrong_value_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_memory(find_bundle(RETINA), ["64x64"], device=CPU, **given)


def test_bundle_without_a_loss_can_be_planned_for_inference_only(tiny_bundle: Path, tmp_path: Path) -> None:
    import shutil

    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    config = bundle / "configs" / "train.yaml"
    config.write_text(config.read_text().replace("\nloss:", "\nother:"))
    assert plan_memory(bundle, ["32x32x16"], device=CPU, modes=["inference"], limits_gib=[1]).footprints
    with pytest.raises(BundleError, match=r"train\.yaml: has no 'loss'; a training step needs it"):
        plan_memory(bundle, ["32x32x16"], device=CPU, modes=["training"])


def test_network_that_gives_another_size_is_refused() -> None:
    network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8), strides=(2,))
    step = InferenceStep(torch.nn.Sequential(network, torch.nn.MaxPool2d(2)), 1, CPU, torch.float32)
    with pytest.raises(ConfigError, match="image of 32 x 32: the network gives 16 x 16 for it"):
        step(1, (32, 32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
class TestOnAGpu:
    @both_bundles
    @every_step
    @pytest.mark.parametrize("precision", FORMATS)
    def test_a_real_step_needs_what_was_counted_and_workspaces(
        self, bundle: str, mode: Mode, precision: torch.dtype
    ) -> None:
        size = tuple(side * 2 for side in SIZES[bundle])
        measured = Measured(find_bundle(bundle), mode, torch.device("cuda", 0), precision).peak(4, size)
        counted = Counted(find_bundle(bundle), mode, precision).peak(4, size)
        assert measured is not None and 0.8 < measured / counted < 3

    @both_bundles
    def test_largest_batch_ran_and_a_much_larger_one_does_not(self, bundle: str) -> None:
        text = "x".join(str(side * 2) for side in SIZES[bundle])
        plan = plan_memory(find_bundle(bundle), [text], device=torch.device("cuda", 0), limits_gib=[0.5])
        assert plan.measured
        for each in plan.footprints:
            ((limit, batch),) = each.largest.items()
            assert batch >= 1 and each.fixed is not None and each.per_image is not None
            assert each.fixed + batch * each.per_image <= limit * 1.05
            gauge = Measured(find_bundle(bundle), each.mode, torch.device("cuda", 0), plan.precision)
            assert not gauge.fits(batch * 2 + 1, each.size, limit)
