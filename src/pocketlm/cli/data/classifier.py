"""`pocketlm data classifier`: fit a fast classifier on labels."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pocketlm.cli.options import Json
from pocketlm.cli.output import table


class FeatureKind(StrEnum):
    """What the classifier sees of a text."""

    EMBEDDINGS = "embeddings"
    WORDS = "words"


def classifier(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Of `pocketlm data label`.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where it goes.")] = Path(
        "classifier"
    ),
    score: Annotated[
        int, typer.Option(metavar="N", min=1, max=5, help="Points from which a document is good.")
    ] = 3,
    features: Annotated[
        FeatureKind,
        typer.Option(help="Embeddings (English, few labels) or words (any language, many)."),
    ] = FeatureKind.EMBEDDINGS,
    json: Json = False,
) -> None:
    """Fit a classifier on three labels of four, and say what it is worth on the fourth.

    \b
    Examples:
      pocketlm data classifier labels.jsonl
      pocketlm data classifier labels.jsonl --score 2 --features words --out by-words
    """
    from pocketlm.recipe.data.classifier import fit
    from pocketlm.recipe.data.label import read_labels

    made = fit(read_labels(labels), score, features.value)
    made.save(out)
    worth = made.about.worth
    if json:
        print(made.about.model_dump_json(indent=1))
        return
    low, high = worth.precision_interval
    print(f"on {worth.documents} held-out labels, {worth.positive} of them {score} points or more:")
    print(f"precision {worth.precision:.2f} (95 %: {low:.2f} to {high:.2f})")
    low, high = worth.recall_interval
    print(f"recall    {worth.recall:.2f} (95 %: {low:.2f} to {high:.2f})")
    print(f"F1 {worth.f1:.2f}, average precision {worth.average_precision:.2f}")
    print(f"Brier score {worth.brier:.3f} (of the share alone: {worth.brier_of_base_rate:.3f})\n")
    rows: list[tuple[str, ...]] = [("least", "precision", "recall", "kept")]
    for point in worth.curve:
        shares = (point.precision, point.recall, point.kept)
        rows.append((f"{point.least:.1f}", *(f"{share:.2f}" for share in shares)))
    print(table(rows))
    rows = [("predicted", "observed", "documents")]
    for each in worth.calibration:
        rows.append((f"{each.predicted:.2f}", f"{each.observed:.2f}", f"{each.documents}"))
    print(f"\n{table(rows)}\n\nin a recipe: - stage: quality\n               classifier: {out}")
