"""The results of a study's runs, as a table and a picture."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import matplotlib.figure

from examples.pose.evaluation import multiply_adds, plots
from examples.pose.training.run_folder import RunFolder
from examples.pose.training.studies import STUDIES, Run, Setting


@dataclasses.dataclass(frozen=True)
class Result:
    """The results of the runs of one setting.

    Attributes:
        pck: PCK@0.2 of each seed, in percent; NaN if no joint counted.
        parameters: Number of parameters of the network.
        multiply_adds: Multiply-adds of the network for one image.
        steps: Step numbers at the ends of the epochs that all seeds have finished.
        progress: PCK@0.2 at these steps, without flip test, on the photographs that training
            evaluates on; mean over the seeds.
    """

    pck: tuple[float, ...]
    parameters: int
    multiply_adds: int
    steps: tuple[int, ...]
    progress: tuple[float, ...]


def result_of(runs: Sequence[Run]) -> Result:
    """Reads the finished runs of one setting."""
    folders = [RunFolder(run.folder) for run in runs]
    model = folders[0].load_model()
    curves = [folder.curve("pck") for folder in folders]
    steps = [step for step in curves[0] if all(step in curve for curve in curves)]
    final_pck = [folder.metrics["pck"] for folder in folders]
    return Result(
        tuple(float("nan") if pck is None else pck for pck in final_pck),
        model.count_params(),
        multiply_adds.multiply_adds(model),
        tuple(steps),
        tuple(statistics.mean(curve[step] for curve in curves) for step in steps),
    )


def table_of(study: str, results: dict[Setting, Result]) -> list[list[str]]:
    """Returns the table of a study as rows of cells. The first row holds the headings."""
    rows = [[study, "PCK@0.2", "lowest to highest", "steps", "parameters", "multiply-adds"]]
    for setting in STUDIES[study]:
        result = results[setting]
        # All seeds are evaluated on the same photographs, so the values are NaN for all or for
        # none of them.
        known = not math.isnan(result.pck[0])
        rows.append(
            [
                setting.name,
                f"{statistics.mean(result.pck):.1f}" if known else "-",
                f"{min(result.pck):.1f} to {max(result.pck):.1f}" if known else "-",
                f"{result.steps[-1]:,}",
                f"{result.parameters:,}",
                f"{result.multiply_adds / 1e6:.1f} million",
            ]
        )
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Formats rows as a Markdown table with numbers aligned to the right."""
    ruler = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ruler, *rows[1:])) + "\n"


def picture_of(study: str, results: dict[Setting, Result]) -> matplotlib.figure.Figure:
    """Plots PCK over the training steps of each setting. Settings without boxes are dashed."""
    return plots.draw_progress(
        {s.name: (results[s].steps, results[s].progress) for s in STUDIES[study]},
        dashed=[s.name for s in STUDIES[study] if not s.has_boxes],
    )
