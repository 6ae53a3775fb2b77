"""All probes, in the order of the source."""

from pocketlm.evaluate.probes import apple, numbers, people, snake
from pocketlm.evaluate.probes.probe import Probe

PROBES: tuple[Probe, ...] = (numbers.PROBE, snake.PROBE, people.PROBE, apple.PROBE)
