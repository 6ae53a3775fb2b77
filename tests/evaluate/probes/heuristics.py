"""What tests of several probes ask: how often a simple way of answering passes."""

from collections import Counter
from collections.abc import Callable

from pocketlm.evaluate.probes.probe import Probe, Variant


def question(variant: Variant) -> str:
    return str(variant.messages[-1]["content"])


def rate(probe: Probe, answer: Callable[[Variant], str], count: int = 240) -> float:
    """The part of the variants of several seeds that such answers pass."""
    variants = [v for seed in range(2) for v in probe.variants(seed, count // 2)]
    return sum(probe.judge(v, answer(v)).passed for v in variants) / len(variants)


def constant(probe: Probe, count: int = 240) -> float:
    """The greatest part that one answer passes, whatever is asked: one of the frequent ones."""
    variants = [v for seed in range(2) for v in probe.variants(seed, count // 2)]
    targets = [target for target, _ in Counter(v.target for v in variants).most_common(8)]
    return max(sum(probe.judge(v, t).passed for v in variants) for t in targets) / len(variants)
