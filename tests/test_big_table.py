"""A made-up table of any size trains and predicts in bounded memory, and well.

ANYFW_TABLE_ROWS rows and ANYFW_TABLE_SEEDS seeds, 50,000 and 2 here, 1,000,000 and 1 in `ci/soak.sh`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

polars = pytest.importorskip("polars")

ROWS, SEEDS = (int(os.environ.get(name, n)) for name, n in (("ANYFW_TABLE_ROWS", "50000"), ("ANYFW_TABLE_SEEDS", "2")))
ROOT = Path(__file__).parent.parent
# Megabytes that may be resident, whatever the size: 350 are promised for a million rows, most of which Python, NumPy,
# numba and polars take by themselves; the rest is for other versions of them.
LIMIT = 420

# Runs a command with the encoded rows in a file, and tells the largest resident size in megabytes. `getrusage` would
# tell that of the process that started it, if it was larger.
RUN = """
import re, sys
import anyfw.data.tables.read as read
from anyfw.cli import main
read.IN_MEMORY = int(sys.argv[1])
code = main(sys.argv[2:])
status = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024, file=sys.stderr)
sys.exit(code)
"""


def make(path: Path, rows: int, seed: int) -> None:
    """Numbers, categories and missing values; the price hangs on the town, on the area there, and on the kind."""
    rng = np.random.default_rng(seed)
    towns = np.array([f"town {i}" for i in range(200)])
    town = np.minimum(rng.geometric(0.03, rows) - 1, 199)
    kind, area, age = rng.integers(0, 4, rows), rng.gamma(4.0, 20.0, rows), rng.uniform(0.0, 100.0, rows)
    worth = rng.normal(3.0, 1.0, 200)[town]
    price = worth * area * np.array([1.0, 0.5, 1.5, 2.0])[kind] - 0.5 * age + rng.normal(0.0, 5.0, rows)
    table = polars.DataFrame(
        {
            "number": np.arange(rows),
            "town": towns[town],
            "kind": np.array(["flat", "barn", "house", "villa, large"])[kind],
            "area": area.round(2),
            "age": age.round(1),
            "lift": rng.random(rows) < 0.3,
            "noise": rng.normal(size=rows).round(4),
            "rooms": rng.integers(1, 9, rows),
            "price": price.round(2),
        }
    )
    for name in ("town", "age", "lift"):
        lost = polars.Series(rng.random(rows) < 0.05)
        table = table.with_columns(polars.when(lost).then(None).otherwise(polars.col(name)).alias(name))
    table.write_csv(path, null_value="NA")


def run(*arguments: object, memory: int = 0):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(memory), *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), int(done.stderr.split()[-1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident size is read from /proc")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_big_table_trains_and_predicts_in_bounded_memory(seed, tmp_path):
    table, folder, answers = tmp_path / "big.csv", tmp_path / "run", tmp_path / "answers.csv"
    make(table, ROWS, seed)
    found, peak = run(
        "train", table, "--target", "price", "--epochs", 2, "--batch-size", 512, "--hidden", 64, 32, "--out", folder
    )
    predicted, peak_predict = run("predict", folder, table, "--out", answers)
    prices = polars.read_csv(table, columns=["price"])["price"].to_numpy()
    said = polars.read_csv(answers)
    error = float(np.sqrt(np.mean((said["prediction"].to_numpy() - prices) ** 2)))
    # To be seen with pytest -rP.
    sys.stdout.write(
        f"{ROWS:,} rows: trained in {found['seconds']:.1f} s, RMSE {found['test_rmse']:.1f}, of all rows {error:.1f}, "
        f"of their mean {prices.std():.1f}; peaks {peak} and {peak_predict} MB\n"
    )
    assert predicted["rows"] == len(said) == ROWS
    assert said["row"].to_list() == list(range(ROWS))
    # The noise is 5, and what is missing, or pooled, costs more than that.
    assert found["test_rmse"] < 0.3 * prices.std()
    assert error < 0.3 * prices.std()
    assert max(peak, peak_predict) < LIMIT
