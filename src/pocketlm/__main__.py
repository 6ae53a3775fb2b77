"""`python -m pocketlm` is the `pocketlm` program."""

from pocketlm.cli.main import main

main()
