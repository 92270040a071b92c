"""What the campaign trains, the folder it works in, and the archive that its results travel in."""

from __future__ import annotations

import io
import json
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caffe_compat as cc
from reproductions.convnet.run import NETWORK as CONVNET
from reproductions.gpu import images, together
from reproductions.measures import record
from reproductions.record import LOGS, record_run
from reproductions.resnet20.run import NETWORK as RESNET20
from reproductions.runner import Runner
from reproductions.runs import HERE, RESULTS, Run, read_file
from reproductions.steps import Network, Place, Step, StepError

MOST_BYTES = 16 * 10**6  # of the archive
SMOKE_IMAGES = 12
EXPERIMENT = "published schedule, on a GPU"
SHARED_TIME = "trained together with other nets, whose time is in its seconds; precision fp32"
ON_GPU = ("baseline-240k", "l2-3e-4-240k", "l2-2e-4-240k", "l2-240k", "l1-1e-3-240k")
AGAIN = ("baseline-240k", "l2-3e-4-240k", "l2-2e-4-240k")  # with seeds 2 and 3
RESNETS = ("full-baseline", "full-l2", "full-l1", "full-discrimination")


class OnGPU(Network):
    """A network whose steps are done by this campaign's command."""

    @property
    def program(self) -> str:
        return f"reproductions.gpu run {self.name}"


@dataclass(frozen=True)
class Campaign:
    """Where the parts work: WORK/convnet and WORK/resnet20 hold their steps, WORK/results the rows, WORK/logs the logs.

    cifar10: the unpacked images. rehearse: everything small, on made-up images.
    """

    work: Path
    device: torch.device
    rehearse: bool = False
    say: Callable[[str], None] = field(default=print)

    @property
    def cifar10(self) -> Path:
        return self.work / "cifar10"

    def runner(self, network: Network) -> Runner:
        """The steps of a network that are for a GPU, in float32 as Caffe's, their images in arrays.

        They begin with the fillers: the project's checkpoints were made on CPUs, and began in bfloat16.
        """
        images.know_arrays()
        place = Place(self.work / network.name, self.cifar10, device=str(self.device), smoke=self.rehearse, fresh=True)
        made = OnGPU(**vars(network) | {"make_data": images.make_arrays, "make_smoke": made_up_arrays})
        return Runner(replace(made, steps=steps_of(network), source="--work WORK"), place)

    def keep(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write WORK/results/gpu-NAME.json: `facts`, the device and the versions."""
        where = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        versions = {"torch": torch.__version__, "caffe_compat": cc.__version__}
        path = self.work / RESULTS.name / f"gpu-{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with cc.write_atomically(path) as temporary:
            temporary.write_text(json.dumps({"device": where, **versions, **facts}, indent=1) + "\n", encoding="utf-8")

    def has(self, name: str) -> bool:
        return (self.work / RESULTS.name / f"gpu-{name}.json").exists()


def steps_of(network: Network) -> tuple[Step, ...]:
    """The steps of a network as the campaign runs them; those with seeds 2 and 3 stand after all others."""
    names = ON_GPU if network is CONVNET else RESNETS
    first = [as_on_gpu(network.step(name), 1) for name in names]
    more = [as_on_gpu(network.step(name), seed) for seed in (2, 3) for name in (AGAIN if network is CONVNET else ())]
    return (*first, *more)


def as_on_gpu(step: Step, seed: int) -> Step:
    name = step.name if seed == 1 else f"{step.name}-seed{seed}"
    note = f"{step.note.partition('; precision')[0]}; {SHARED_TIME}".removeprefix("; ")
    return replace(step, name=name, seed=seed, experiment=EXPERIMENT, note=note, options=(), edit=images.from_arrays)


def made_up_arrays(folder: Path) -> None:
    """A few images in the form of `images.make_arrays`, and their means."""
    draw = np.random.default_rng(1)
    for name, side in ((images.TRAIN, 32), (images.TEST, 32), (images.PADDED, 40)):
        pixels = draw.integers(0, 256, (SMOKE_IMAGES, 3, side, side), dtype=np.uint8)
        images.write_arrays(folder / name, pixels, np.arange(SMOKE_IMAGES, dtype=np.uint8) % 10)
    for name, side in ((images.MEAN, 32), (images.PADDED_MEAN, 40)):
        cc.write_mean(folder / name, np.full((3, side, side), 127, np.float32))


def train(network: Network, names: Sequence[str], campaign: Campaign, seconds: float) -> bool:
    """Train the steps of a network that have these names together, and write their rows; whether they are finished."""
    runner = campaign.runner(network)
    steps = [runner.network.step(name) for name in names]
    done = together.train(runner, steps, seconds, campaign.say, at_least=2 if campaign.rehearse else 0)
    record(runner, steps, campaign.work)
    return done


def merge(campaign: Campaign, root: Path = HERE) -> int:
    """Put the finished rows of WORK/results, and their logs, among those of the project; how many."""
    finished = [
        run
        for path in sorted((campaign.work / RESULTS.name).glob("*.csv"))
        for run in rows_of(path)
        if run.status == "finished"
    ]
    for run in finished:
        record_run(run, folder=root / RESULTS.name)
    for path in sorted((campaign.work / LOGS.name).glob("*")):
        shutil.copy(path, root / LOGS.name)
    for path in sorted((campaign.work / RESULTS.name).glob("gpu-*.json")):
        shutil.copy(path, root / RESULTS.name)
    return len(finished)


def archive(campaign: Campaign, path: Path) -> int:
    """Put rows, logs and what the next machine goes on from into one .tar.xz; its bytes. StepError for too many."""
    files = [file for name in (RESULTS.name, LOGS.name) for file in sorted((campaign.work / name).glob("*"))]
    for network in (CONVNET, RESNET20):
        runner = campaign.runner(network)
        files += [file for step in runner.network.steps for file in together.kept_files(runner, step)]
    with cc.write_atomically(path) as temporary, tarfile.open(temporary, "w:xz") as tar:
        for file in files:
            if file.is_file() and not file.name.startswith("."):
                tar.add(file, file.relative_to(campaign.work))
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise StepError(f"{path}: is whole, but has {size:,} bytes, more than {MOST_BYTES:,}; carry it in pieces")
    return size


def unarchive(campaign: Campaign, path: Path) -> None:
    """Put what `archive` packed back into the work folder; a damaged archive changes nothing there.

    A step that is further there than in the archive stays as it is; rows join those that are there.
    """
    campaign.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=campaign.work, prefix=".archive-") as name:
        there = replace(campaign, work=Path(name))
        try:
            # Whole first: tarfile stops before the end of the stream, where its check sum stands.
            content = io.BytesIO(lzma.decompress(path.read_bytes()))
            with tarfile.open(fileobj=content, mode="r:") as tar:
                tar.extractall(there.work, filter="data")
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise StepError(f"{path}: is no archive that `run` wrote, or is damaged ({error})") from None
        for network in (CONVNET, RESNET20):
            mine, theirs = campaign.runner(network), there.runner(network)
            for step in mine.network.steps:
                if theirs.folder(step).exists() and progress(theirs, step) > progress(mine, step):
                    shutil.copytree(theirs.folder(step), mine.folder(step), dirs_exist_ok=True)
        for source in sorted((there.work / RESULTS.name).glob("*.csv")):
            add_rows(source, campaign.work / RESULTS.name)
        for folder in (LOGS.name, RESULTS.name):
            for source in sorted((there.work / folder).glob("*.json*" if folder == RESULTS.name else "*")):
                if not (campaign.work / folder / source.name).exists():
                    (campaign.work / folder).mkdir(exist_ok=True)
                    shutil.copy(source, campaign.work / folder)


def progress(runner: Runner, step: Step) -> int:
    """The iteration that a step has come to."""
    return runner.iterations(step) if runner.is_done(step) else runner.reached(step) or -1


def add_rows(source: Path, folder: Path) -> None:
    """Put the rows of a file among those of the same file in `folder`; a finished row is never replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    finished = {run.key for run in rows_of(folder / source.name) if run.status == "finished"}
    for run in rows_of(source):
        if run.key not in finished:
            record_run(run, folder=folder)


def rows_of(path: Path) -> list[Run]:
    """The rows of a file; StepError for one that holds none."""
    try:
        return read_file(path)
    except ValueError as error:
        raise StepError(f"{error}; remove the file, its rows are written anew by `run`") from None
