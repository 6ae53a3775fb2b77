"""The YAML files of `pocketlm train`: what may stand in them.

It knows fields and their limits. It opens no model and no data; it imports no PyTorch.
Paths in a file are taken from the folder that the file is in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: What a model is given as: its parts, or a path. Names for pydantic, not fields.
_NEW, _FOLDER = "<new>", "<folder>"


def _from_file(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / path.expanduser()


Place = Annotated[Path, AfterValidator(_from_file)]
"""A path, relative to the configuration's file."""


class Strict(BaseModel):
    """A section of a file: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenizerRun(Strict):
    """`pocketlm train tokenizer`."""

    out: Place
    """The folder to write."""
    texts: Annotated[tuple[Place, ...], Field(min_length=1)]
    """Text files (one document each), `.jsonl` files (one document a line, in `field`), folders."""
    field: str = "text"
    vocabulary: Annotated[int, Field(ge=300, le=1 << 20)]
    """Tokens in all, control tokens included."""
    kind: Literal["byte-level", "byte-fallback"] = "byte-level"
    """As GPT-2's and SmolLM2's (exact on every input), or as LLaMA's and Phi-3's."""
    least: Count = 2
    """Pairs seen fewer times are not merged."""
    context: Count = 4096
    """What the folder says is the longest input (`model_max_length`)."""
    bytes: Count | None = None
    """Read this many bytes of text at most."""


class Architecture(Strict):
    """A Phi-3 of any size, in the names of transformers' `Phi3Config`."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count | None = None
    """As many as `num_attention_heads` where it is not given."""
    max_position_embeddings: Count | None = None
    """The run's `context` where it is not given."""
    tie_word_embeddings: bool = True
    rope_theta: Rate = 10000.0
    rms_norm_eps: Rate = 1e-5
    initializer_range: Rate = 0.02
    vocab_size: Count | None = None
    """Rows of the embedding; the tokenizer's count where it is not given."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size must be a multiple of num_attention_heads")
        if self.hidden_size // self.num_attention_heads % 2:
            raise ValueError("a head's width (hidden_size / num_attention_heads) must be even")
        if self.num_attention_heads % (self.num_key_value_heads or 1):
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        return self


class Phase(Strict):
    """A stretch of a run with one mixture."""

    name: str
    steps: Count | None = None
    tokens: Count | None = None
    """Of `steps` and `tokens` one; tokens are rounded up to whole steps."""
    mix: dict[str, Rate]
    """Each source's share of the tokens; they need not sum to 1."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.steps is None) == (self.tokens is None):
            raise ValueError("say how long: one of steps and tokens")
        if not self.mix:
            raise ValueError("mix names no source")
        return self


class Schedule(Strict):
    """The learning rate over the run's steps, as transformers' schedules have it."""

    kind: Literal["wsd", "cosine", "constant"] = "wsd"
    """Warm up, stay, decay (`wsd`); half a cosine after the warm-up; or stay after it."""
    peak: Rate
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps."""
    decay: Count | None = None
    """`wsd` alone: steps of the decay; the last phase where it is not given and there are several,
    else the last fifth."""
    floor: Share = 0.0
    """The last rate, as a share of the peak."""

    @model_validator(mode="after")
    def _only_wsd_decays(self) -> Self:
        if self.decay is not None and self.kind != "wsd":
            raise ValueError("decay is for kind: wsd")
        return self


class Optimizer(Strict):
    """AdamW (Loshchilov and Hutter 2019); matrices decay, norms and embeddings do not."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    epsilon: Rate = 1e-8
    clip: Rate = 1.0
    """The gradient's greatest norm."""


class Validation(Strict):
    """What is measured during the run and never trained on."""

    sets: dict[str, Place] = {}
    """Name to a folder of token shards."""
    choices: Place | None = None
    """A file of multiple choice, an item a line: `context`, `options`, `right` (from 0)."""
    pairs: Place | None = None
    """A file of minimal pairs, one a line: `good` and `bad`."""
    every: Count = 100
    tokens: Count = 65536
    """Of each set, at most, from its beginning."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.sets or self.choices or self.pairs):
            raise ValueError("names nothing to measure: sets, choices or pairs")
        return self


class Checkpoints(Strict):
    """What a run that was stopped goes on from."""

    every: Count = 100
    """Steps."""
    keep: Count = 2
    """The newest so many stay."""


class Teacher(Strict):
    """Whose distribution a student learns (Hinton et al. 2015)."""

    model: Place
    """A folder that transformers opens, with the student's vocabulary."""
    temperature: Rate = 2.0
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The divergence's share of the loss; the rest is cross-entropy on the text."""


class Adapter(Strict):
    """Low-rank adaptation (Hu et al. 2021): W + (alpha / rank) B A; A and B are learned."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] | None = None
    """Names of the matrices that are adapted (qkv_proj, …); all of the layers' where not given."""


class PretrainRun(Strict):
    """`pocketlm train pretrain`, and with a `teacher` `pocketlm train distill`."""

    out: Place
    """The folder of the run: checkpoints, log, curve, and in the end `model`."""
    tokenizer: Place
    """A folder as `pocketlm train tokenizer` writes it; the one the shards were made with."""
    model: Annotated[
        Annotated[Architecture, Tag(_NEW)] | Annotated[Place, Tag(_FOLDER)],
        Discriminator(lambda value: _FOLDER if isinstance(value, str | Path) else _NEW),
    ]
    """A new model, or the folder of one whose weights are trained further."""
    branch: Place | None = None
    """A checkpoint of another run that this run continues, optimizer and step included."""
    sources: dict[str, Place]
    """Name to a folder of token shards."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    context: Annotated[int, Field(ge=8)]
    """Tokens a sequence."""
    batch: Count
    """Sequences a step, over all processes."""
    micro_batch: Count | None = None
    """Sequences a forward pass of one process; the rest of a step is accumulated."""
    across_documents: bool = False
    """Let tokens attend to other documents in their window."""
    schedule: Schedule
    optimizer: Optimizer = Optimizer()
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: products in bfloat16, weights and optimizer in float32."""
    sharding: Literal["none", "fsdp"] = "none"
    """Several processes each hold all weights, or a part of them (FSDP2)."""
    validation: Validation | None = None
    checkpoints: Checkpoints = Checkpoints()
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Decides initial weights and the order of the data."""
    threads: Count | None = None
    """Of PyTorch on the CPU; results agree to the bit only with equal threads."""
    teacher: Teacher | None = None
    adapter: Adapter | None = None
    """Train an adapter of a model's folder instead of its weights; `out` then gets `adapter`."""

    @model_validator(mode="after")
    def _adapter_has_a_model(self) -> Self:
        if self.adapter is not None and not isinstance(self.model, Path):
            raise ValueError("adapter is for the folder of a model; a new one has nothing to adapt")
        if self.adapter is not None and self.sharding != "none":
            raise ValueError("adapter goes with sharding: none; what is trained is small")
        return self

    @model_validator(mode="after")
    def _sources_are_there(self) -> Self:
        for phase in self.phases:
            for name in phase.mix:
                if name not in self.sources:
                    raise ValueError(f"phase {phase.name!r} mixes {name!r}, which is no source")
        if len({phase.name for phase in self.phases}) != len(self.phases):
            raise ValueError("two phases have one name")
        if self.schedule.warmup >= self.steps:
            raise ValueError(f"schedule.warmup is not less than the run's {self.steps} steps")
        if (self.schedule.decay or 0) > self.steps - self.schedule.warmup:
            raise ValueError("schedule.warmup and decay together are longer than the run")
        return self

    def steps_of(self, phase: Phase) -> int:
        """How many steps a phase takes."""
        return phase.steps or -(-(phase.tokens or 0) // (self.batch * self.context))

    @property
    def steps(self) -> int:
        """How many steps the run takes."""
        return sum(map(self.steps_of, self.phases))

    def phase_at(self, step: int) -> Phase:
        """The phase of the step that follows `step` steps, which are fewer than the run's."""
        for phase in self.phases:
            step -= self.steps_of(phase)
            if step < 0:
                return phase
        raise IndexError("the run has no such step")


class DistilRun(PretrainRun):
    """`pocketlm train distill`: as `pretrain`, and a teacher."""

    teacher: Teacher


class Tuning(Strict):
    """What the runs share that train a model further on examples, by trl's trainers."""

    out: Place
    """The folder of the run: checkpoints, log, curve, and in the end `model` or `adapter`."""
    model: Place
    """The folder of the model to begin from; its tokenizer and chat template are used."""
    data: Annotated[tuple[Place, ...], Field(min_length=1)]
    """Files of JSON lines, an example a line."""
    validation: Place | None = None
    """Examples that are measured after each epoch, and never trained on."""
    choices: Place | None = None
    """A file of multiple choice, scored after each epoch; as in `pretrain`'s `validation`."""
    pairs: Place | None = None
    """A file of minimal pairs, likewise."""
    epochs: Rate = 1.0
    batch: Count = 16
    """Examples a step, over all processes."""
    micro_batch: Count | None = None
    """Examples a forward pass of one process; the rest of a step is accumulated."""
    context: Count = 1024
    """Tokens of an example; what is longer is cut."""
    peak: Rate
    """The learning rate after the warm-up."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps."""
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate goes on after the warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Rate = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoints: Checkpoints = Checkpoints()
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    threads: Count | None = None


class SftRun(Tuning):
    """`pocketlm train sft`: conversations, of which the assistant's turns are learned."""


class LoraRun(Tuning):
    """`pocketlm train lora`: as `sft`, of an adapter alone."""

    adapter: Adapter = Adapter()
    begin: Place | None = None
    """The folder of an adapter that is trained further; its rank, alpha and targets stay."""

    @model_validator(mode="after")
    def _one_adapter(self) -> Self:
        if self.begin is not None and "adapter" in self.model_fields_set:
            raise ValueError("begin names an adapter, which has its own rank: leave adapter out")
        return self


class DpoRun(Tuning):
    """`pocketlm train dpo`: of two answers the better one (Rafailov et al. 2023)."""

    beta: Rate = 0.1
    """How dear it is to leave the model that one began from."""
    adapter: Adapter | None = None
    """Train an adapter instead of the weights."""
