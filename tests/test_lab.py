"""The lab: its trainings are what they say, its sentences follow from its numbers, its page holds both."""

import contextlib
import io
import json
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from anyfw import data, losses, nn
from anyfw.core.errors import ConfigError, DataError, MissingExtraError, OutputError
from anyfw.report import lab
from anyfw.report.lab_answers import (
    QUESTIONS,
    Study,
    activation_matters,
    depth_troubles,
    layers_needed,
    shrinkage,
    weights_move,
)
from anyfw.report.lab_page import snippets
from anyfw.report.lab_runs import LabData, Run, Score, Setting, best_of, perceptron, train

SETTING = Setting("relu", 3, 0.3, seed=0, width=16, epochs=2, batch_size=32, train_rows=600)


@pytest.fixture(scope="module")
def digits():
    return LabData.of(data.load("digits"), train_rows=600, valid_rows=200, probe_rows=100, seed=0)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("lab") / "runs" / "lab"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    (folder / "lab.json").write_text("an old one")
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        result = lab.run(folder, quick=True, progress=True)
    return folder, {**result, "stderr": stderr.getvalue()}


# The trainings


def test_data_are_cut_without_overlap(digits):
    x, y = data.load("digits").train
    assert (len(digits.train[0]), len(digits.valid[0]), len(digits.probe[0])) == (600, 200, 100)
    assert np.bincount(digits.train[1]).tolist() == pytest.approx([60] * 10, abs=2)
    rows = {row.tobytes() + bytes([label]) for row, label in zip(x, y, strict=True)}
    train_rows, valid_rows = ({row.tobytes() for row in part[0]} for part in (digits.train, digits.valid))
    assert len(rows) == len(x)
    assert not train_rows & valid_rows


@pytest.mark.parametrize("activation", ["none", "sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_perceptron_has_the_layers_of_its_setting(digits, activation, depth):
    kinds = [type(layer).__name__ for layer in perceptron(digits, replace(SETTING, activation=activation, depth=depth))]
    between = {"none": "Identity", "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "ReLU"}[activation]
    assert kinds == ["Rescale", *["Linear", between] * (depth - 1), "Linear"]


def test_a_training_is_measured_layer_by_layer(digits):
    run = train(digits, SETTING)
    assert run.test_accuracy > 0.4  # chance is 0.1
    assert run.valid_accuracy == run.history["valid_accuracy"][-1]
    assert [len(run.max_weight), len(run.gradients)] == [3, 3]  # before training, and after each of 2 epochs
    assert {len(epoch) for epoch in run.max_weight + run.gradients} == {3}
    net = perceptron(digits, SETTING).draw(0).to("numpy", "float64")
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    assert run.max_weight[0] == pytest.approx([np.abs(layer.weight.data).max() for layer in linear], rel=1e-6)
    scores = net.forward(digits.probe[0].astype(np.float64), train=True)
    net.accumulate(losses.CrossEntropyLoss()(scores, digits.probe[1])[1])
    assert run.gradients[0] == pytest.approx([np.linalg.norm(layer.weight.grad) for layer in linear], rel=1e-4)
    assert train(digits, SETTING).as_dict() | {"history": 0} == run.as_dict() | {"history": 0}


def test_a_diverged_training_is_a_result(digits):
    run = train(digits, replace(SETTING, activation="none", lr=100.0))
    assert (run.diverged, run.valid_accuracy, run.test_accuracy) == (True, 0.1, 0.1)
    assert best_of([run, train(digits, replace(SETTING, epochs=1, lr=1e-6))]).setting.lr == 1e-6


# The answers: from made-up trainings, whose answers are known

ROWS = 10_000


def made(activation, depth, accuracy, *, lr=0.1, gradients=None, weights=((0.5,), (1.0,)), diverged=False):
    setting = replace(SETTING, activation=activation, depth=depth, lr=lr)
    history = {"loss": [1.0, 0.5], "seconds": [1.0, 1.0]}
    gradients = [list(row) for row in gradients or [[0.1] * depth] * 2]
    return Run(setting, history, accuracy, accuracy, [list(row) for row in weights], gradients, diverged)


def study(*, none=0.91, curved=0.95, full=(0.92, 0.97, 0.972), deep=(), grid=()):
    chosen = {("none", 1): [made("none", 1, 0.91)] * 3}
    for depth in (2, 3):
        chosen["none", depth] = [made("none", depth, none)] * 3
        chosen["sigmoid", depth] = [made("sigmoid", depth, curved - 0.02)] * 3
        chosen["relu", depth] = [made("relu", depth, curved)] * 3
    return Study(
        grid=grid,
        chosen=chosen,
        full={depth: [made("relu", depth, accuracy)] * 3 for depth, accuracy in enumerate(full, 1)},
        deep={(run.setting.activation, run.setting.depth): run for run in deep},
        test_rows=ROWS,
    )


BOTH = "Yes: +4.00 points with 2 layers and +4.00 points with 3 layers."
SINKING = [[1e-4, 1e-3, 1e-2, 0.1], [1e-3, 1e-3, 1e-2, 0.1]]
LEVEL = [[0.1] * 4] * 2


@pytest.mark.parametrize(
    ("compute", "given", "verdict", "reasons"),
    [
        (activation_matters, study(), BOTH, ["+4.00 points, a clear", "no better than one", "2.00 points apart"]),
        (activation_matters, study(none=0.95), "No clear gain", ["+0.00 points, within", "do better than"]),
        (activation_matters, study(none=0.99), "No clear gain", ["−4.00 points, a clear difference"]),
        (layers_needed, study(), "2 are, with 97.00 ± 0.00 %; 3", ["+5.00 points, a clear", "+0.20 points, within"]),
        (layers_needed, study(full=(0.92, 0.95, 0.97)), "Yes: 3 layers do best", ["+2.00 points, a clear"]),
        (layers_needed, study(full=(0.97, 0.971, 0.95)), "No: one layer does as well", ["−2.10 points, a clear"]),
        (
            depth_troubles,
            study(
                deep=(
                    made("sigmoid", 2, 0.9), made("sigmoid", 4, 0.1, gradients=SINKING), made("relu", 2, 0.92),
                    made("relu", 4, 0.93, gradients=LEVEL),
                )
            ),
            "With sigmoid the gradient vanishes on its way down; at 4 layers accuracy is 10.0 %. Relu is spared.",
            ["1,000 times smaller", "a factor of 10 for each layer", "where 2 layers reach 90.0 %", "best of all"],
        ),
        (
            depth_troubles,
            study(deep=(made("sigmoid", 2, 0.9), made("sigmoid", 4, 0.9, gradients=SINKING))),
            "With sigmoid the gradient vanishes on its way down, yet the net learns at these depths.",
            ["1,000 times smaller"],
        ),
        (
            depth_troubles,
            study(deep=(made("relu", 2, 0.9), made("relu", 4, 0.5, gradients=LEVEL))),
            "Deep nets with relu learn worse, although the gradient reaches every layer.",
            ["ends at 50.0 %"],
        ),
        (depth_troubles, study(deep=(made("relu", 2, 0.9), made("relu", 4, 0.9))), "Nothing yet", []),
        (
            weights_move,
            study(grid=[made("relu", 2, 0.9, lr=lr, weights=((0.5,), (0.6,), (lr,))) for lr in (0.6, 1.0, 2.0)]),
            "It grows: from 0.50 to 1.00",
            ["In 3 of 3 trainings", "The larger the learning rate, the further", "4.00 times the start at 2"],
        ),
        (
            weights_move,
            study(
                grid=[
                    made("relu", 2, 0.9, lr=0.1, weights=((0.5,), (0.4,))),
                    made("relu", 2, 0.1, lr=1.0, weights=((0.5,),), diverged=True),
                ]
            ),
            "It shrinks: from 0.50 to 0.40",
            ["In 0 of 1 trainings", "By learning rate: 0.80 times the start at 0.1", "1 training is not counted"],
        ),
        (weights_move, study(grid=[made("relu", 2, 0.1, diverged=True)]), "Nobody can say.", ["every training"]),
    ],
)  # fmt: skip
def test_answers_follow_from_the_numbers(compute, given, verdict, reasons):
    answer = compute(given)
    assert answer.verdict.startswith(verdict)
    for words in reasons:
        assert words in answer.reason
    assert {len(row) for row in answer.rows} <= {len(answer.header)}


def test_a_difference_counts_the_seeds_and_the_test_rows():
    assert Score((0.95, 0.95), 10_000).error == pytest.approx(math.sqrt(0.95 * 0.05 / 10_000))
    assert Score((0.94, 0.96), 10**12).error == pytest.approx(0.01)
    assert Score((0.97,), 10_000).differs(Score((0.96,), 10_000))
    assert not Score((0.97,), 100).differs(Score((0.96,), 100))
    assert str(Score((0.94, 0.96), 100)) == "95.00 ± 1.41 %"


def test_a_rate_at_which_another_seed_diverges_is_passed_over():
    runs = [made("none", 2, accuracy, lr=lr) for lr, accuracy in ((0.1, 0.90), (0.3, 0.92), (1.0, 0.91))]

    def again(setting):
        return replace(made("none", 2, 0.9, lr=setting.lr, diverged=setting.lr == 0.3), setting=setting)

    chosen = lab._repeated(runs, again, range(1, 3))
    assert [(run.setting.lr, run.setting.seed) for run in chosen] == [(1.0, 0), (1.0, 1), (1.0, 2)]
    assert [run.setting.lr for run in lab._repeated(runs[1:2], again, range(1, 3))] == [0.3] * 3


# The page


def test_both_files_are_written_and_agree(quick):
    folder, result = quick
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "lab.json", "mine.txt"]
    stored = json.loads((folder / "lab.json").read_text())
    assert stored["answers"] == json.loads(json.dumps(result["answers"]))
    assert list(result["answers"]) == list(QUESTIONS) == ["activation", "layers", "depth", "weights"]
    assert list(result["demonstrations"]) == ["moons", "curve", "capacity", "losses", "graph"]
    assert len(stored["grid"]) == (1 + 4 * 2) * len(lab.QUICK.lrs)
    page = (folder / "index.html").read_text()
    assert page.count("<img ") == 4 + 5
    assert "quick lab" in page
    for part in [*result["answers"].values(), *result["demonstrations"].values()]:
        assert part["question"] in page
        words = re.split(r"[<>&'\"]", part["answer"])[0]
        assert len(words) > 30
        assert words in page
    sigmoid, relu = (
        next(r for r in stored["deep"] if (r["setting"]["activation"], r["setting"]["depth"]) == (name, 8))
        for name in ("sigmoid", "relu")
    )
    assert sigmoid["gradients"][0][0] < 1e-3 * sigmoid["gradients"][0][-1]
    assert relu["gradients"][0][0] > 0.05 * relu["gradients"][0][-1]


def test_the_code_on_the_page_gives_the_numbers_on_it(quick):
    _, result = quick
    runs = {
        key: [Run(**{**one, "setting": Setting(**one["setting"])}) for one in result[key]] for key in ("full", "deep")
    }
    chosen = [Run(**{**one, "setting": Setting(**one["setting"])}) for one in result["chosen"]]
    by_net: dict[tuple[str, int], list[Run]] = {}
    for run in chosen:
        by_net.setdefault((run.setting.activation, run.setting.depth), []).append(run)
    full: dict[int, list[Run]] = {}
    for run in runs["full"]:
        full.setdefault(run.setting.depth, []).append(run)
    deep = {(run.setting.activation, run.setting.depth): run for run in runs["deep"]}
    again = snippets(Study((), by_net, full, deep, 1), result["data"], result["size"], result["seed"])
    for key, expected in (("layers", full[3][0]), ("depth", deep["sigmoid", 8])):
        space: dict[str, object] = {}
        exec(again[key].rpartition("\n")[0], space)
        run = space["run"]
        assert isinstance(run, Run)
        assert run.test_accuracy == expected.test_accuracy
        assert run.gradients == expected.gradients
    assert shrinkage(deep["sigmoid", 8], 0) > 1000


def test_other_files_stay_and_progress_goes_to_stderr(quick):
    folder, result = quick
    assert (folder / "mine.txt").read_text() == "mine"
    lines = result["stderr"].splitlines()
    assert re.fullmatch(r"lab 1/37  1 layer, rate 0.1: \d+\.\d %  \(\d+ s\)", lines[0])
    assert re.match(r"lab (\d+)/\1  ", lines[-1])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"epochs": 0}, ConfigError, "epochs of at least 1"),
        ({"data": "curve"}, DataError, "class labels"),
        ({"data": "digitz"}, ConfigError, "Did you mean 'digits'"),
        ({"data": replace(data.load("moons"), test=None)}, DataError, "expected test rows"),
    ],
)
def test_bad_arguments(tmp_path, arguments, error, words):
    pytest.importorskip("matplotlib")
    with pytest.raises(error, match=words):
        lab.run(tmp_path, quick=True, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_found_out_before_training(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Choose another folder"):
        lab.run(tmp_path / "file", quick=True)
    with pytest.raises(OutputError, match="Choose another folder"):
        lab.run(tmp_path / "file" / "below", quick=True)


def test_without_matplotlib_it_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anyfw\[plots\]'"):
        lab.run(tmp_path / "lab", quick=True)
    assert not (tmp_path / "lab").exists()
