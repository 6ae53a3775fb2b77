"""All probes, in the order of the source."""

from pocketlm.evaluate.probes import apple, numbers, people
from pocketlm.evaluate.probes.probe import Probe

PROBES: tuple[Probe, ...] = (numbers.PROBE, people.PROBE, apple.PROBE)
