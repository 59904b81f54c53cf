"""The cases of a batch on a Ray cluster: one actor per GPU, or per so many cores where there is none.

Every actor builds the bundle's predictor for itself, so inputs, bundle, weights and the output folder must have the
same paths on all nodes, and medseg must be installed on them. The process that started the run, the driver, claims
the cases and writes the table; actors segment and write the cases' files. An actor whose node dies is started again
by Ray where there is room, and Ray hands it its case again; actors that have nothing left to do make room.
"""

from __future__ import annotations

import copy
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle.running import running_parser
from medseg.errors import ConfigError, MedsegError, reason, user_error_in
from medseg.inference.batch.batch import Batch
from medseg.inference.batch.progress import Progress
from medseg.inference.batch.results import HIDDEN
from medseg.inference.batch.rows import CaseRow

_log = logging.getLogger(__name__)

Entry = Mapping[str, Any]
_COLOUR_OFF = "\x1b[0m"
_PREDICTOR = "evaluator"  # its id in an inference.yaml
_STARTS = 4  # of a case: one that kills every process that takes it up must not go round for ever


@dataclass(frozen=True)
class Places:
    """How many actors a cluster has room for, and what each takes of a node."""

    count: int
    cpus: int
    gpus: int

    @classmethod
    def on(cls, nodes: Sequence[Mapping[str, float]], *, use_gpus: bool) -> Places:
        """One actor per GPU with its share of the node's cores; without GPUs, as many cores as the smallest node has.

        Args:
            nodes: the resources `CPU` and `GPU` of each.
            use_gpus: whether GPUs are wanted.

        Raises:
            MedsegError: if no node has a core to give.
        """
        with_gpus = [node for node in nodes if use_gpus and node.get("GPU", 0) >= 1]
        if with_gpus:
            cpus = min(int(node.get("CPU", 0) // node["GPU"]) for node in with_gpus)
            return cls(sum(int(node["GPU"]) for node in with_gpus), cpus, 1)
        cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
        if not cores:
            raise MedsegError("no node of the Ray cluster has a CPU to give; start one with `ray start --address ...`")
        return cls(sum(each // min(cores) for each in cores), min(cores), 0)


class Worker:
    """What an actor holds: the predictor of a bundle's config, built at the first case."""

    def __init__(self, config: Mapping[str, Any], folder: str, threads: int) -> None:
        self._config = config
        self._folder = folder
        self._threads = threads
        self._predictor: Any = None

    def attempt(self, entry: Entry) -> CaseRow:
        """Segment a case and write its files; see `Predictor.attempt`."""
        if self._predictor is None:
            self._predictor = self._build()
        # Ray's retries cannot be counted on: until it knows that a node is dead, it uses up any number of them.
        with starts_of(entry["case"], self._predictor.output_dir).open("ab") as starts:
            starts.write(b".")
            if starts.tell() > _STARTS:
                told = f"{entry['image']}: {_STARTS} processes died while they had it in hand; is memory short?"
                return CaseRow.failed(entry["case"], told, {})
        row: CaseRow = self._predictor.attempt(entry)
        return row

    def _build(self) -> Any:
        import torch
        from monai.bundle import ConfigParser

        os.chdir(self._folder)  # what paths in configs are relative to
        if self._threads:
            torch.set_num_threads(self._threads)
        return ConfigParser(copy.deepcopy(dict(self._config))).get_parsed_content(_PREDICTOR)


def starts_of(case: str, output_dir: Path) -> Path:
    """Where it is counted how often a case was taken up."""
    return output_dir / HIDDEN / f"{case}.starts"


def run_on_ray(batch: Batch, entries: Sequence[Entry], progress: Progress, output_dir: Path) -> None:
    """Segment those entries of a batch that can be claimed on the cluster, with the bundle that is running.

    Args:
        batch: of `output_dir`.
        entries: of the batch.
        progress: is told of every row.
        output_dir: seen by all nodes.

    Raises:
        ConfigError: without Ray, a cluster, or a bundle.
        MedsegError: whatever keeps an actor from working at all, such as weights that its node does not see.
    """
    config = _running_config()
    with _connected() as ray, ExitStack() as everything:
        claims: dict[str, ExitStack] = {}

        def claimed() -> Iterator[Entry]:
            for entry in entries:
                claim = everything.enter_context(ExitStack())
                if claim.enter_context(batch.claim(entry["case"])):
                    claims[entry["case"]] = claim
                    starts_of(entry["case"], output_dir).unlink(missing_ok=True)
                    yield entry
                else:
                    claim.close()

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        places = Places.on(nodes, use_gpus=not str(config.get("device")).startswith("cpu"))
        for row in _Actors(ray, config, places).rows(claimed()):
            batch.record(row)
            starts_of(row.case, output_dir).unlink(missing_ok=True)
            claims.pop(row.case).close()
            progress.told(row)


class _Actors:
    """Actors that have one case in hand each."""

    def __init__(self, ray: Any, config: Mapping[str, Any], places: Places) -> None:
        self._ray = ray
        what = f"{places.cpus} cores" + (", 1 GPU" if places.gpus else "")
        _log.info(f"on the Ray cluster: up to {places.count} cases at a time, each with {what}")
        options = {"num_cpus": places.cpus, "num_gpus": places.gpus, "max_restarts": -1, "max_task_retries": -1}
        kind = ray.remote(Worker).options(**options)
        self._new: Callable[[], Any] = lambda: kind.remote(config, str(Path.cwd()), places.cpus)
        self._count = places.count
        self._free: list[Any] = []

    def rows(self, entries: Iterator[Entry]) -> Iterator[CaseRow]:
        """A row for each entry, as they come."""
        in_hand: dict[Any, Any] = {}
        try:
            self._free = [self._new() for _ in range(self._count)]
            while True:
                for actor, entry in self._given_out(entries):
                    in_hand[actor.attempt.remote(entry)] = actor
                if not in_hand:
                    return
                done, _ = self._ray.wait(list(in_hand), num_returns=1)
                for task in done:
                    actor = in_hand.pop(task)
                    yield self._row(task)
                    self._free.append(actor)
        finally:
            for actor in [*self._free, *in_hand.values()]:
                self._ray.kill(actor)

    def _given_out(self, entries: Iterator[Entry]) -> Iterator[tuple[Any, Entry]]:
        while self._free:
            entry = next(entries, None)
            if entry is None:  # an actor that waits for a place to start again gets theirs
                while self._free:
                    self._ray.kill(self._free.pop())
                return
            yield self._free.pop(), entry

    def _row(self, task: Any) -> CaseRow:
        from ray.exceptions import RayTaskError

        try:
            row: CaseRow = self._ray.get(task)
            return row
        except RayTaskError as error:
            mine = user_error_in(error.cause if isinstance(error.cause, BaseException) else error)
            if mine is None:
                raise
            raise mine from None  # its traceback is another process's


class _RaysWords(io.TextIOBase):
    """What Ray prints to stdout of nodes that die, as lines of our log without the end of Ray's own logs."""

    def write(self, text: str) -> int:
        """Log the text if it is the first line of a message."""
        _, raylet, said = text.partition("(raylet)")
        if raylet:
            _log.warning(f"Ray: {said.removeprefix(_COLOUR_OFF).strip().splitlines()[0]}")
        return len(text)


@contextmanager
def _connected() -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise ConfigError("engine 'ray' needs Ray: pip install 'medseg[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"no Ray cluster answers at RAY_ADDRESS '{address}' ({reason(error)}); start one with `ray start --head`"
        ) from error
    try:
        with redirect_stdout(_RaysWords()):
            yield ray
    finally:
        ray.shutdown()


def _running_config() -> dict[str, Any]:
    """The running bundle's config for an actor: its folder resolved, of its inputs only how many there are."""
    parser = running_parser()
    if parser is None or _PREDICTOR not in parser:
        raise ConfigError(f"engine 'ray' needs a bundle that is run, with its predictor under '{_PREDICTOR}'")
    config: dict[str, Any] = copy.deepcopy(parser.config)
    if "bundle_root" in config:
        config["bundle_root"] = str(Path(parser.get_parsed_content("bundle_root")).resolve())
    if isinstance(config.get("dataset"), dict):
        count = len(parser.get_parsed_content("dataset"))
        config["dataset"]["data"] = [{}] * count  # which tells the actor whether a backend's preparation pays
    config |= {"engine": "local", "input": None}
    if str(config.get("device", "")).startswith("cuda"):
        config["device"] = "cuda"  # an actor sees its own GPU only, the first
    return config
