"""Our estimators against scikit-learn's MLP on its bundled data: `python ci/bench/estimators.py [--json FILE]`.

Both get scikit-learn's defaults, the same random_state, the same stratified splits (a quarter of the rows for testing)
and the same StandardScaler; seeds 0 to 9, all of them. Fits alternate, and times are ratios of each seed's two fits, of
which the median counts. `ANYFW_FUSED=plain` leaves numba out; `--seeds` and `--data` are for a quick look.
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from machine import describe, headline
from sklearn import datasets, neural_network
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anyfw.backends.numpy import load_kernels
from anyfw.interop.sklearn import MLPClassifier, MLPRegressor

DATA = ("digits", "wine", "breast_cancer", "diabetes", "iris")
MODELS = {
    "classes": (neural_network.MLPClassifier, MLPClassifier),
    "numbers": (neural_network.MLPRegressor, MLPRegressor),
}


def measure(name: str, seeds: int) -> dict:
    """Scores, epochs and seconds of both, over all seeds."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    classes = y.dtype.kind == "i"
    kinds = dict(zip(("scikit-learn", "anyfw"), MODELS["classes" if classes else "numbers"], strict=True))
    found: dict[str, list[tuple[float, float, int]]] = {kind: [] for kind in kinds}
    for seed in range(-1, seeds):
        split = train_test_split(x, y, random_state=abs(seed), stratify=y if classes else None)
        for kind, estimator in kinds.items():
            fitted = fit(estimator, split, abs(seed))
            # The first pair warms up.
            if seed >= 0:
                found[kind].append(fitted)
    theirs, ours = (np.array(found[kind]) for kind in kinds)
    return {
        "score": "accuracy" if classes else "R2",
        **{kind: summary(rows) for kind, rows in zip(kinds, (theirs, ours), strict=True)},
        "better, equal, worse": [int(count) for count in counts(ours[:, 0] - theirs[:, 0])],
        "time ratio": round(statistics.median(ours[:, 1] / theirs[:, 1]), 3),
    }


def fit(estimator: type, split: list, seed: int) -> tuple[float, float, int]:
    """Test score, seconds of the fit, epochs."""
    x, x_test, y, y_test = split
    model = make_pipeline(StandardScaler(), estimator(random_state=seed))
    started = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - started
    return model.score(x_test, y_test), seconds, model[-1].n_iter_


def summary(rows: np.ndarray) -> dict:
    return {
        "mean score": round(float(rows[:, 0].mean()), 4),
        "scores": [round(float(score), 4) for score in rows[:, 0]],
        "median seconds": round(statistics.median(rows[:, 1]), 4),
        "mean epochs": round(float(rows[:, 2].mean()), 1),
    }


def counts(differences: np.ndarray) -> tuple[int, int, int]:
    return (differences > 0).sum(), (differences == 0).sum(), (differences < 0).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA)
    parser.add_argument("--json", type=Path, help="write the figures there too, beside those of other kernels")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    machine = describe()
    kernels = load_kernels()
    print(headline(machine), f"kernels: {kernels}", sep="\n")
    print(f"{'':14} {'score':>9} {'scikit-learn':>12} {'anyfw':>8} {'+ = -':>8} {'epochs':>13} {'time ratio':>10}")
    result = {}
    for name in arguments.data:
        found = result[name] = measure(name, arguments.seeds)
        theirs, ours = found["scikit-learn"], found["anyfw"]
        print(
            f"{name:14} {found['score']:>9} {theirs['mean score']:12.4f} {ours['mean score']:8.4f} "
            f"{'/'.join(map(str, found['better, equal, worse'])):>8} "
            f"{theirs['mean epochs']:6.1f} {ours['mean epochs']:6.1f} {found['time ratio']:10.2f}",
            flush=True,
        )
    if arguments.json:
        before = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else {}
        text = json.dumps({**before, kernels: {"machine": machine, "data": result}}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
