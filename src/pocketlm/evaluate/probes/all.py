"""All probes, in the order of the source."""

from pocketlm.evaluate.probes.probe import Probe

PROBES: tuple[Probe, ...] = ()
