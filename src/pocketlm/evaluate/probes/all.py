"""All probes, in the order of the source."""

from pocketlm.evaluate.probes import (
    apple,
    beliefs,
    digging,
    drying,
    marble,
    maths,
    numbers,
    people,
    snake,
    speed,
)
from pocketlm.evaluate.probes.probe import Probe

PROBES: tuple[Probe, ...] = (
    numbers.PROBE,
    snake.PROBE,
    drying.PROBE,
    speed.PROBE,
    maths.PROBE,
    people.PROBE,
    marble.PROBE,
    beliefs.PROBE,
    apple.PROBE,
    digging.PROBE,
)
