"""The same jobs on Ray, with two workers, and in a Slurm queue."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tests.recipe.data.pages import BREAD, WATER, article

from pocketlm.errors import ParameterError
from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.build import build
from pocketlm.recipe.data.shards import Shards, texts

RECIPE = """\
name: small
sources:
  - kind: text
    path: raw
stages:
  - stage: gopher-quality
  - stage: exact-duplicates
shards:
  tokenizer: tokenizer.json
  end: <end>
tasks: 2
"""
#: Stands where Slurm would be: runs an array job's tasks at once, and notes what it was given.
SBATCH = """\
#!/bin/sh
for last; do :; done
number=$(ls {folder} | grep -c script)
cp "$last" {folder}/script-$number
echo "$@" > {folder}/arguments-$number
last_task=$(sed -n 's/#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$last")
for task in $(seq 0 "${{last_task:-0}}"); do
  SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=here RUN_OFFSET=0 PATH={tools}:$PATH \\
    bash "$last" > {folder}/log-$number-$task 2>&1 || exit 1
done
echo "Submitted batch job $((100 + number))"
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    (tmp_path / "raw").mkdir()
    for number, told in enumerate([WATER, BREAD, WATER, article(1), ["short"]]):
        (tmp_path / f"raw/{number}.txt").write_text("\n".join(told))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        WATER,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def kept(folder: Path) -> list[str]:
    return [text.strip() for text in texts(Shards(folder / "shards"))]


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_ray_with_two_workers_gives_the_same(made: Path) -> None:
    pytest.importorskip("ray")
    wanted = recipe.read(made / "recipe.yaml")
    build(wanted, made / "here", "local", 1, lambda _: None)
    build(wanted, made / "ray", "ray", 2, lambda _: None)
    assert kept(made / "ray") == kept(made / "here")
    for name in ("00000.bin", "00001.bin", "shards.json"):
        one, other = made / "ray/shards" / name, made / "here/shards" / name
        assert one.read_bytes() == other.read_bytes()


def test_slurm_jobs_run_one_after_another(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    tools, folder = tmp_path / "tools", tmp_path / "slurm"
    tools.mkdir()
    folder.mkdir()
    python = Path(sys.executable).parent
    programs = {
        "sbatch": SBATCH.format(folder=folder, tools=python),
        "srun": '#!/bin/sh\nwhile [ "${1#-}" != "$1" ] || [ "$1" = 1 ]; do shift; done\n"$@"\n',
        "scontrol": "#!/bin/sh\necho here\n",
    }
    for name, text in programs.items():
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    path = made / "recipe.yaml"
    path.write_text(RECIPE + "slurm: {partition: cpu, time: '1:00:00', memory: 3}\n")
    wanted = recipe.read(path)
    last = build(wanted, made / "out", "slurm", 5, lambda _: None)
    scripts = sorted(folder.glob("script-*"))
    first = scripts[0].read_text()
    for line in ("--partition=cpu", "--time=1:00:00", "--mem-per-cpu=3G", "--array=0-1%5"):
        assert line in first, first
    arguments = [(folder / f"arguments-{n}").read_text() for n in range(len(scripts))]
    assert sum("--dependency=afterok:" in each for each in arguments) == 3  # each after another
    assert last is not None
    build(wanted, made / "here", "local", 1, lambda _: None)
    assert kept(made / "out") == kept(made / "here")


def test_what_is_not_there_is_said(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe.read(made / "recipe.yaml")
    with pytest.raises(ParameterError, match="slurm: is missing in the recipe"):
        build(wanted, made / "out", "slurm", 1, lambda _: None)
    (made / "recipe.yaml").write_text(RECIPE + "slurm: {partition: cpu}\n")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ParameterError, match="sbatch is not on this machine"):
        build(recipe.read(made / "recipe.yaml"), made / "out", "slurm", 1, lambda _: None)
