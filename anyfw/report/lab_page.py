"""The lab's page: question, answer, picture, table and the code that repeats it, one after the other."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from anyfw.report.html import Page
from anyfw.report.lab_answers import QUESTIONS, Answer, Study
from anyfw.report.lab_demos import Demo
from anyfw.report.lab_pictures import PICTURES
from anyfw.report.lab_runs import Run, best_of


def make_page(
    result: Mapping[str, Any],
    study: Study,
    found: Mapping[str, Answer],
    pictures: Mapping[str, bytes],
    shown: Sequence[Demo],
) -> Page:
    """Lay out the lab's results.

    Args:
        result: what lab.json holds.
        study: the trainings.
        found: the answers to `QUESTIONS`, by key.
        pictures: their PNGs, by key.
        shown: the demonstrations.
    """
    rows, size = result["rows"], result["size"]
    reproduce = snippets(study, result["data"], size, result["seed"])
    trainings = sum(len(result[part]) for part in ("grid", "chosen", "full", "deep")) - len(study.chosen)
    page = Page(f"The lab: perceptrons on {result['data']}")
    page.text(
        f"{trainings} trainings of nets of one to {max(size['deep'])} layers, in {result['seconds']:.0f} s on the "
        f"backend '{result['backend']}'. Every sentence and number below is computed from them."
    )
    if result["quick"]:
        page.text("This is a quick lab, on small nets and few rows: it shows that all works; its answers mean little.")
    page.heading("In short")
    page.table([[QUESTIONS[key][0], one.verdict] for key, one in found.items()], ("question", "answer"))
    for key, one in found.items():
        _, alt, caption = PICTURES[key]
        page.heading(QUESTIONS[key][0]).text(f"{one.verdict} {one.reason}")
        page.image(pictures[key], alt, caption).table([_rounded(row) for row in one.rows], one.header)
        page.heading("Reproduce it", 3).code(reproduce[key])
    page.heading("The lesson's demonstrations")
    for demo in shown:
        page.heading(demo.title, 3).text(demo.answer)
        for picture in demo.pictures:
            page.image(*picture)
        page.table([_rounded(row) for row in demo.rows], demo.header).code(demo.reproduce)
    page.heading("How it was measured")
    page.text(_method(rows, size))
    command = f"anyfw lab {result['data']} --seed {result['seed']}"
    command += " --quick" if result["quick"] else ""
    # Without --epochs the grid and the training on all rows may differ in length.
    command += f" --epochs {size['epochs']}" if size["epochs"] == size["full_epochs"] else ""
    page.code(f"{command}    # this page again; all numbers are in lab.json")
    return page


def snippets(study: Study, name: str, size: Mapping[str, Any], seed: int) -> dict[str, str]:
    """Code that repeats one training of each answer, by the answer's key."""
    head = (
        "from anyfw.data import load\n"
        "from anyfw.report.lab_runs import LabData, Setting, train\n\n"
        f"dataset = load({name!r})\n"
        f"data = LabData.of(dataset, train_rows={size['train_rows']}, valid_rows={size['valid_rows']}, "
        f"probe_rows={size['probe_rows']}, seed={seed})\n"
    )
    curved = best_of(
        [runs[0] for (activation, depth), runs in study.chosen.items() if activation != "none" and depth > 1]
    )
    deepest = max(study.deep.items(), key=lambda item: (item[0][0] == "sigmoid", item[0][1]))[1]
    full = study.full[max(study.full)][0]
    return {
        "activation": f"{head}{_training(curved)}\nprint(run.test_accuracy)",
        "layers": f"{head}data = data.with_all(dataset.train)\n{_training(full)}\nprint(run.test_accuracy)",
        "depth": f"{head}{_training(deepest)}\nprint(run.gradients[0])  # before training, by layer",
        "weights": f"{head}{_training(curved)}\nprint(run.max_weight)  # by epoch, then by layer",
    }


def _training(run: Run) -> str:
    one = run.setting
    return (
        f"setting = Setting(activation={one.activation!r}, depth={one.depth}, lr={one.lr}, seed={one.seed},\n"
        f"                  width={one.width}, epochs={one.epochs}, batch_size={one.batch_size}, "
        f"train_rows={one.train_rows})\n"
        "run = train(data, setting)"
    )


def _method(rows: Mapping[str, int], size: Mapping[str, Any]) -> str:
    return f"""
Nets: linear layers of {size["width"]} units with one activation between every two; the first weights are LeCun's, for
relu He's; biases start at 0. Training: plain SGD on the cross-entropy, at a rate that falls to 0 along a cosine;
{size["batch_size"]} rows a batch, inputs rescaled, float32.

The grid and the deep nets learn from {rows["train"]:,} of the {rows["all"]:,} training rows, balanced by class, for
{size["epochs"]} epochs, at rates from {", ".join(f"{lr:g}" for lr in size["lrs"])}. The best rate of each net is the
one that does best on {rows["valid"]:,} other training rows; the chosen nets are trained with {size["seeds"]} seeds, and
where one of these diverges, the next best rate is taken. For the question of how many layers are needed, the net of
each depth that does best on those rows, on average over the seeds, learns from all {rows["all"]:,} training rows for
{size["full_epochs"]} epochs. The deep nets use the rate that was chosen with {max(size["depths"])} layers.

Test accuracies are measured on {rows["test"]:,} rows that nothing was chosen by. ± is the standard deviation over
seeds. A difference counts as clear where it is larger than twice its standard error, which counts both the seeds and
the number of test rows. Gradients are those of the mean loss over {rows["probe"]:,} fixed training rows. A net whose
loss became infinite or NaN counts as diverged, with the accuracy of chance.
"""


def _rounded(row: Sequence[Any]) -> list[Any]:
    return [float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value for value in row]
