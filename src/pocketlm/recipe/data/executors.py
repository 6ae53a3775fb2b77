"""Jobs run by datatrove's executors: here, on a Slurm cluster, or on Ray.

All three leave the same files: `jobs/NAME/completions` says which tasks are done, and running again
does the others. They know jobs; they do not know what is in them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import multiprocess  # type: ignore[import-untyped]
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.executor.base import PipelineExecutor
from datatrove.utils.logging import logger
from datatrove.utils.stats import PipelineStats

from pocketlm.errors import Error, OutputError, ParameterError
from pocketlm.formats.output import writing
from pocketlm.recipe.data import plan
from pocketlm.recipe.data.orphans import end_with_ancestors, let_children_end
from pocketlm.recipe.data.plan import Job
from pocketlm.recipe.data.recipe import Slurm

Kind = Literal["local", "slurm", "ray"]
Tell = Callable[[str], None]
_SECONDS = 0.5
"""Between two looks at what is done."""


_NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as loguru may write to it


class _Quiet(PipelineExecutor):  # type: ignore[misc]
    """What datatrove tells of each task goes into the task's log alone."""

    def _run_for_rank(self, rank: int, *args: int, **more: int) -> PipelineStats:
        with contextlib.redirect_stderr(_NOWHERE):
            return super()._run_for_rank(rank, *args, **more)


class _Local(_Quiet, LocalPipelineExecutor):  # type: ignore[misc]
    def _launch_run_for_rank(self, *args: Any, **more: Any) -> PipelineStats:  # noqa: ANN401
        if self.workers > 1:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            end_with_ancestors()
        return super()._launch_run_for_rank(*args, **more)


class _Ray(_Quiet, RayPipelineExecutor):  # type: ignore[misc]
    def _run_for_rank(self, rank: int, *args: int, **more: int) -> PipelineStats:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        end_with_ancestors()
        return super()._run_for_rank(rank, *args, **more)


def run(jobs: Sequence[Job], folder: Path, kind: Kind, workers: int, tell: Tell) -> None:
    """Run `jobs` one after another with `workers` at a time; logs and counts go into `folder`.

    `tell` hears how far it is. Raises Error for a task that fails, with what it said and where its
    log is; what other tasks have done stays done.
    """
    logger.remove()
    let_children_end()
    multiprocess.set_forkserver_preload([plan.__name__])  # or each worker of each job imports it
    with _engine(kind, workers):
        for number, job in enumerate(jobs, 1):
            made = _executor(job, folder, kind, workers)
            if not made.get_incomplete_ranks():
                continue
            about = f"job {number} of {len(jobs)}, {job.name[3:]}"
            with _watched(made, about, tell):
                _run(made, job, folder)


def submit(jobs: Sequence[Job], folder: Path, slurm: Slurm, workers: int) -> str:
    """Put `jobs` into Slurm's queue, each after the one before. Returns the last one's number.

    Raises ParameterError where there is no Slurm here.
    """
    if shutil.which("sbatch") is None:
        raise ParameterError("sbatch is not on this machine: run this where jobs are submitted")
    before: SlurmPipelineExecutor | None = None
    for job in jobs:
        before = SlurmPipelineExecutor(
            list(job.steps),
            tasks=job.tasks,
            workers=workers,
            time=slurm.time,
            partition=slurm.partition,
            mem_per_cpu_gb=slurm.memory,
            venv_path=slurm.venv,
            job_name=f"pocketlm-{job.name}",
            logging_dir=str(folder / job.name),
            qos=None,
            depends=before,
        )
    assert before is not None
    before.run()
    return str(before.job_id)


def _run(made: PipelineExecutor, job: Job, folder: Path) -> None:
    """Run one job. Raises as `run`."""
    said: BaseException | None = None
    with writing(folder / job.name):
        try:
            made.run()
        except (Error, OSError):
            raise
        except Exception as error:  # whatever a step raises, it is a task that failed
            said = error
    left = made.get_incomplete_ranks()
    if left or said is not None:
        log = folder / job.name / "logs" / f"task_{left[0] if left else 0:05d}.log"
        raise _failure(said, log, len(left))


def _failure(said: BaseException | None, log: Path, left: int) -> Error:
    """What is told of tasks that failed."""
    words = str(said) if said is not None else _last_error(log)
    if "No space left" in words:
        return OutputError(f"the disk is full: {log.parent.parent}")
    return Error(f"{left} tasks failed: {words or 'for an unknown reason'}; see {log}")


def _last_error(log: Path) -> str:
    """The line of a log that an exception ends with."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    found = [line for line in lines if line and not line[0].isspace() and ": " in line]
    return found[-1] if found else ""


def _executor(job: Job, folder: Path, kind: Kind, workers: int) -> PipelineExecutor:
    at = str(folder / job.name)
    if kind == "ray":
        return _Ray(
            list(job.steps),
            tasks=job.tasks,
            workers=min(workers, job.tasks),
            logging_dir=at,
            mem_per_cpu_gb=0.5,
        )
    return _Local(list(job.steps), tasks=job.tasks, workers=min(workers, job.tasks), logging_dir=at)


@contextlib.contextmanager
def _engine(kind: Kind, workers: int) -> Iterator[None]:
    """What an executor needs: a Ray cluster, the one of RAY_ADDRESS or else one here."""
    if kind != "ray":
        yield
        return
    try:
        import ray
    except ImportError:
        raise ParameterError("Ray needs its package: pip install 'pocketlm[ray]'") from None
    options: dict[str, Any] = {}
    if "RAY_ADDRESS" not in os.environ:
        options = {"num_cpus": workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _watched(made: PipelineExecutor, about: str, tell: Tell) -> Iterator[None]:
    """Tell now and then how many tasks are done."""
    done = threading.Event()

    def watch() -> None:
        while True:
            left = len(made.get_incomplete_ranks(skip_completed=True))
            tell(f"{about}: {made.world_size - left} of {made.world_size} tasks")
            if done.wait(_SECONDS):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
