"""Tables: what a column is taken for, what is refused, and that raw rows and encoded ones mean the same."""

import json
import logging
import random
import re
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from anyfw import Trainer, data, losses, nn, optim
from anyfw.core.errors import AnyfwError, ConfigError, DataError, FileFormatError, MissingExtraError, OutputError
from anyfw.core.files import read_json, read_tensors
from anyfw.data import Columns, read_table
from anyfw.data.tables import Category, Number, Target, csv_text, frames
from anyfw.data.tables.rows import RowStore
from anyfw.data.tables.wishes import MISSING
from tests.conftest import SEED

pl = pytest.importorskip("polars")

TINY = ("--hidden", 16, "--epochs", 3, "--batch-size", 32, "--progress", "none")


pytestmark = pytest.mark.usefixtures("own_folder")


def houses(rows: int = 300, seed: int = 0) -> "pl.DataFrame":
    """One column of each kind; the price hangs on area, town and lift."""
    rng = np.random.default_rng(seed)
    town, area, lift = rng.integers(0, 4, rows), rng.gamma(4.0, 20.0, rows).round(1), rng.random(rows) < 0.4
    price = area * np.array([1.0, 2.0, 3.0, 4.0])[town] + 30.0 * lift
    frame = pl.DataFrame(
        {
            "number": np.arange(rows),
            "street": [f"{i} Main Street" for i in range(rows)],
            "town": np.array(["Oslo", "Rome", "New, York", 'the "Hague"'])[town],
            "code": np.array([f"0{i}" for i in range(40)])[rng.integers(0, 40, rows)],
            "area": area,
            "rooms": rng.integers(1, 7, rows),
            "lift": lift,
            "land": ["here"] * rows,
            "price": price,
            "dear": np.where(price > 200, "yes", "no"),
        }
    )
    return frame.with_columns(pl.when(pl.col("area") > 150).then(None).otherwise(pl.col("area")).alias("area"))


def written(name: str, rows: int = 300, seed: int = 0, **options) -> str:
    frame = houses(rows, seed)
    frame.write_parquet(name) if name.endswith(".parquet") else frame.write_csv(name, **options)
    return name


def text(content: str, name: str = "t.csv") -> str:
    with open(name, "w", encoding="utf-8", newline="") as file:
        file.write(content)
    return name


def column(values, **wishes):
    """What a column is taken for beside a target: its Number, its Category, or None."""
    rows = {"v": values, "t": [i + 0.5 for i in range(len(values))]}
    try:
        columns = Columns.fit(rows, "t", **wishes)
    except DataError as error:
        if "all are left out" in str(error):
            return None
        raise
    return (*columns.numbers, *columns.categories)[0]


# What a column is


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.5, 3.0, None], Number("v", 6.5 / 3, np.std([1, 2.5, 3]), indicator=True)),
        (["1", "2.5", " 3 ", "NA"], Number("v", 6.5 / 3, np.std([1, 2.5, 3]), indicator=True)),
        (["1,5", "2,5", "3", "?"], Number("v", 7 / 3, np.std([1.5, 2.5, 3]), "comma", indicator=True)),
        (["1e3", "+2", "-.5"], Number("v", 1001.5 / 3, np.std([1000, 2, -0.5]))),
        ([True, False, True], Number("v", 2 / 3, np.std([1, 0, 1]), "boolean")),
        (["True", "false", "TRUE"], Number("v", 2 / 3, np.std([1, 0, 1]), "boolean")),
        ([3, 1, 3, 1, 3], Number("v", 2.2, np.std([3, 1, 3, 1, 3]))),
        (["a", "b", "a", None], Category("v", ("a", "b"), missing=True)),
        (["a", "b", "a", "null"], Category("v", ("a", "b"), missing=True)),
        (["1", "x", "x", "x", "2"], Category("v", ("x", "1", "2"))),
        ([1, 2, 3, 4], None),  # counts the rows
        (["here"] * 4, None),
        ([7, 7, 7], None),
        ([None, None, None], None),
        ([f"name {i}" for i in range(20)], None),
    ],
    ids=str,
)
def test_kinds_are_told_by_the_values(values, expected):
    found = column(values)
    if isinstance(expected, Number):
        assert (found.written, found.indicator) == (expected.written, expected.indicator)
        assert (found.mean, found.deviation) == pytest.approx((expected.mean, expected.deviation))
    else:
        assert found == expected


def test_wishes_come_before_what_the_values_tell():
    assert column([1, 2, 1, 2], categories=["v"]) == Category("v", ("1", "2"))
    assert column([1, 2, 3, 4], numbers=["v"]).mean == 2.5
    assert column(["02138", "10001", "02138"], categories=["v"]).values == ("02138", "10001")
    assert column(["1", "-99", "2", "4"], missing=["-99"]).indicator
    assert column([1, -99, 2, 4], missing=["-99"]).indicator
    assert column(["1", "NA", "1", "NA"], missing=[]).values == ("1", "NA")
    assert not column([f"name {i}" for i in range(20)], categories=["v"]).pooled


def test_many_categories_become_vectors_and_rare_ones_share_a_code():
    values = [f"c{i}" for i in range(100) for _ in range(6)] + [f"rare {i}" for i in range(50)]
    found = column(values)
    assert (len(found.values), found.width, found.pooled, found.missing) == (100, 10, True, False)
    assert (found.count, found.other, found.absent) == (101, 100, -1)
    few = column([f"c{i}" for i in range(16)] * 6)
    assert (few.count, few.width, few.pooled) == (16, 0, False)


@pytest.mark.parametrize(
    ("values", "wishes", "expected"),
    [
        (["a", "b", "a"], {}, ("a", "b")),
        ([True, False, True], {}, ("false", "true")),
        (["True", "False", "True"], {}, ("false", "true")),
        ([3, 10, 3], {}, ("3", "10")),
        ([3.0, 10.0, None], {}, ("3", "10")),
        (["3.0", "10.0", "3"], {}, ("3", "10")),
        ([0.5, 1.5, 0.5], {}, None),
        (["0,5", "1,5", "2"], {}, None),
        (list(range(21)), {}, None),
        ([3, 10, 3], {"task": "regression"}, None),
        ([0.5, 1.5, 0.5], {"task": "classification"}, ("0.5", "1.5")),
    ],
    ids=str,
)
def test_targets_are_classes_or_numbers(values, wishes, expected):
    columns = Columns.fit({"x": [0.5, 1.5, 0.7] * (len(values) // 3), "t": values}, "t", **wishes)
    assert columns.target.class_names == expected
    assert columns.target.task == ("regression" if expected is None else "classification")


def test_each_column_is_shown():
    notes = read_table(houses(), "price", drop=["dear"]).notes
    lines = {line.split()[0]: " ".join(line.split()) for line in notes}
    assert lines["number"] == "number left out counts the rows 0 300 0, 1, 2"
    assert lines["street"].startswith("street left out almost all different 0 300 0 Main Street")
    assert lines["town"].startswith("town category one-hot 0 4 ")
    assert lines["code"].startswith("code number standardised 0 40 0")
    assert lines["area"].startswith("area number standardised, missing beside it 13 ")
    assert lines["lift"].startswith("lift number standardised, true is 1 0 2 ")
    assert lines["land"] == "land left out always 'here' 0 1 here"
    assert lines["price"].startswith("price target as it is 0 287 ")
    assert "'number': if it is a quantity: --numbers number" in notes
    assert "'code': written with leading zeros; if these are codes: --categories code" in notes
    assert "'street': if these are categories: --categories street" in notes
    assert "left out, as asked for: dear" in notes
    assert notes[-1] == "'table' has no test rows: 60 of its 300 rows (20 %) held out for testing."


@pytest.mark.parametrize("name", ["floor area, in m²; it's large " + "x" * 40, "-area", "area"])
def test_advice_can_be_pasted_into_a_shell(name, cli):
    # One text among numbers that has to be quoted; NA stays a missing value when another one is added.
    rows = {name: ["many of them; some"] + ["NA"] * 3 + [f"{i}.5" for i in range(30)], "b": [0.5, 1.5] * 17}
    pl.DataFrame({**rows, "y": np.arange(34) * 1.3 % 7}).write_csv("t.csv")
    train = ("train", "t.csv", "--target", "y", *TINY)
    _, err = cli(*train, code=2)
    found = re.search(r"missing value: (--missing.*); or, for the whole column: (--cat.*), or (--drop.*)", err)
    for option in found.groups():
        cli(*train, *shlex.split(option), "--overwrite")
    cli(*train, *shlex.split(found[1]), "--overwrite")
    columns = Columns.from_config(read_tensors("runs/t/model.safetensors")[1]["metadata"]["columns"])
    assert columns.missing == (*MISSING, "many of them; some")
    assert [(number.name, number.indicator) for number in columns.numbers] == [(name, True), ("b", False)]


def test_numbers_are_fitted_on_the_training_rows_alone():
    table = read_table(houses(), "dear", drop=["price", "town", "code", "street", "land", "number"], valid=0.25, seed=3)
    x = table.train[0]
    assert [len(part[0]) for part in (table.train, table.valid, table.test)] == [180, 60, 60]
    area, there = x[:, 0], x[:, 3] == 0
    np.testing.assert_allclose([area[there].mean(), area[there].std()], [0, 1], atol=1e-5)
    assert not area[~there].any()
    assert abs(table.test[0][:, 0].mean()) > 1e-3
    for part in (table.train, table.valid, table.test):
        assert np.bincount(part[1]) / len(part[1]) == pytest.approx(np.bincount(table.train[1]) / 180, abs=0.02)


# Files


VARIANTS = (
    ("plain", ",", "\n", ""),
    ("byte order mark, semicolons, carriage returns", ";", "\r\n", "\ufeff"),
    ("tabs", "\t", "\n", ""),
    ("bars", "|", "\n", ""),
    ("blank lines first", ",", "\n", "\r\n\n"),
    ("blank lines behind a byte order mark", ",", "\n", "\ufeff\n\n"),
)


@pytest.mark.parametrize(("separator", "end", "mark"), [row[1:] for row in VARIANTS], ids=[row[0] for row in VARIANTS])
def test_dialects_of_csv_are_one_table(separator, end, mark):
    expected = read_table(houses(), "price")
    houses().write_csv("plain.csv", separator=separator, line_terminator=end)
    with open("plain.csv", encoding="utf-8", newline="") as file:
        path = text(mark + file.read(), "dialect.tsv" if separator == "\t" else "dialect.csv")
    found = read_table(path, "price")
    assert found.columns == expected.columns
    np.testing.assert_array_equal(found.train[0], expected.train[0])
    np.testing.assert_array_equal(found.train[1], expected.train[1])


def test_frames_of_polars_and_pandas_dicts_and_parquet_are_one_table():
    pandas = pytest.importorskip("pandas")
    frame = houses()
    expected = read_table(written("t.csv"), "dear", categories=["rooms"])
    plain = frame.to_dict(as_series=False)
    for source in (frame, frame.lazy(), plain, pandas.DataFrame(plain), written("t.parquet")):
        found = read_table(source, "dear", categories=["rooms"])
        assert found.columns == expected.columns
        np.testing.assert_array_equal(found.train[0], expected.train[0])
        np.testing.assert_array_equal(found.test[1], expected.test[1])


def test_numbers_that_stand_for_missing_values_do_so_however_they_are_stored():
    lost = np.arange(60) % 6 == 0
    whole, half = np.arange(60) * 7 % 13, np.arange(60) * 0.7 % 13
    frame = pl.DataFrame(
        {
            "whole": np.where(lost, -999, whole),
            "half": np.where(lost, -999.0, half),
            "single": pl.Series(np.where(lost, -99.9, half), dtype=pl.Float32),
            "kind": np.where(lost, -999, whole % 3),
            "y": np.where(np.arange(60) == 7, -999.0, np.arange(60) * 1.3 % 7),
        }
    )
    frame.write_csv("t.csv")
    frame.write_parquet("t.parquet")
    wishes = {"missing": ["-999", "-99.9"], "categories": ["kind"]}
    tables = [read_table(source, "y", **wishes) for source in (frame, "t.csv", "t.parquet")]
    expected = tables[0].columns
    assert [number.indicator for number in expected.numbers] == [True, True, True]
    assert expected.categories[0] == Category("kind", ("0", "1", "2"), missing=True)
    assert expected.numbers[0].mean == pytest.approx(7, abs=2)
    for table in tables:
        assert len(table.train[0]) + len(table.test[0]) == 59
        assert table.columns.categories == expected.categories
        for number, other in zip(table.columns.numbers, expected.numbers, strict=True):
            assert number.mean == pytest.approx(other.mean, rel=1e-6)
        np.testing.assert_allclose(table.train[0], tables[0].train[0], rtol=1e-5, atol=1e-6)
    for source in (frame, "t.csv", "t.parquet"):
        assert expected.encode(source)[0, :3].tolist() == [0, 0, 0]


@pytest.mark.parametrize("block", [64, 1000, 2**22])
def test_blocks_end_where_rows_do(block, monkeypatch):
    rows = [(f"{i}", f'a "{i}"\nb;,{"x" * (i % 7)}', "" if i % 3 else "z") for i in range(200)]
    quoted = ['{},"{}",{}'.format(a, b.replace('"', '""'), c) for a, b, c in rows]
    path = text("n,t,c\n" + "\n\n".join(quoted))  # with blank lines, and no newline at the end
    monkeypatch.setattr(csv_text, "BLOCK", block)
    found = pl.concat(frames.open_frames(path)).with_columns(pl.col("c").fill_null(""))
    assert found.rows() == rows


def test_rows_in_a_file_are_those_in_memory_to_the_bit():
    path = written("t.csv", 3000)
    memory, disk = (read_table(path, "price", valid=0.1, memory=size) for size in (2**30, 0))
    for one, other in zip((memory.train, memory.valid, memory.test), (disk.train, disk.valid, disk.test), strict=True):
        assert one[0].tobytes() == other[0].tobytes()
        assert one[1].tobytes() == other[1].tobytes()
    assert type(memory.train[0].base) is not type(disk.train[0].base)
    nets = []
    for table in (memory, disk):
        first = nn.CategoryColumns(*table.columns.layout)
        net = nn.Sequential(first, nn.Linear(first.out_features, 8), nn.ReLU(), nn.Linear(8, 1))
        trainer = Trainer(net, losses.MSELoss(), optim.Adam(net.parameters(), lr=0.01), progress=False)
        trainer.fit(table.train, table.valid, epochs=2, batch_size=64)
        nets.append(net.state_dict())
    for name, value in nets[0].items():
        assert value.tobytes() == nets[1][name].tobytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("size", [10, 10_000])
def test_a_full_disk_is_told_whenever_it_is_met(size, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: Path("/dev/full").open("wb"))  # noqa: SIM115

    def store() -> None:
        rows = RowStore(3, "float32")
        rows.spill()
        rows.add(np.ones((size, 3), dtype=np.float32))
        rows.array()

    with pytest.raises(OutputError, match=r"do not fit into .*: No space left on device.*TMPDIR=FOLDER"):
        store()


# What is refused: each with one clear line. {name: (content or maker, arguments, words)}

FEW = "a,b,t\n1,x,2.5\n2,y,3.5\n4,x,1.5\n3,y,2.25\n"


def lines(header: str, row: str, n: int = 30) -> str:
    return header + "\n" + "".join(row.format(i=i, letter="ab"[i % 2], half=i * 1.37 % 5) + "\n" for i in range(n))


BAD = {
    "an empty file": ("", (), "expected a table with a header, got an empty file"),
    "blank lines": ("\n\n  \n", (), "got an empty file"),
    "a short row below blank lines": ("\r\n\n" + FEW + "1,2\n", (), "t.csv, line 8: expected 3 fields, as the header"),
    "a header alone": ("a,b,t\n", (), "expected rows below the header, got none"),
    "no such target": (FEW, ("--target", "T"), "there is no column 'T'. Did you mean 't'? Columns: a, b, t"),
    "no such column to drop": (FEW, ("--drop", "c"), "there is no column 'c'."),
    "a column named twice": ("a,a,t\n1,2,3\n", (), "a name of its own for each column, got twice: a"),
    "a column without a name": (",a,t\n0,1,2\n", (), "column 1 of 3 has no name in the header"),
    "no header": ("1.5,2,3\n4,5,6\n", (), "expected the names of the columns in the first line, got numbers: 1.5, 2"),
    "a target that is missing everywhere": ("a,t\n1,\n2,NA\n", (), "'t': expected values to learn, and all 2 are miss"),
    "a target of one class": (lines("a,t", "{half},yes"), (), "all 30 are 'yes': one class, or one number, leaves"),
    "a constant target": (lines("a,t", "{half},7.5"), (), "all 30 are '7.5'"),
    "one row": ("a,t\n1,2.5\n", (), "expected at least two rows with a value"),
    "the target alone": ("t\n1.5\n2.5\n", (), "expected columns to learn from, got none besides the target"),
    "identifiers alone": (lines("id,t", "{i},{half}"), (), "all are left out: 'id' (counts the rows)"),
    "dates": (
        lines("d,t", "2024-01-{i:02},{half}"),
        (),
        "'d': expected numbers or categories, got dates or times",
    ),
    "times as the target": (lines("a,t", "{half},12:{i:02}"), (), "'t': expected numbers or categories, got dates"),
    "numbers and text mixed": (
        lines("a,t", "{half},{i}") + "many,3\n",
        (),
        "column 'a': expected numbers, as 30 of 31 values are, got 'many' in row 30. If it stands for a missing",
    ),
    "a target of numbers and text": (lines("a,t", "{half},{half}") + "1,many\n", (), "got 'many' in row 30"),
    "text where numbers were asked for": (FEW, ("--numbers", "b"), "column 'b': expected numbers"),
    "text as a regression": (FEW, ("--target", "b", "--task", "regression"), "the target 'b': expected numbers"),
    "infinite numbers": (lines("a,t", "{half},{i}") + "inf,3\n", (), "expected finite numbers, got inf in row 30"),
    "numbers beyond float64": (lines("a,t", "{half},{i}") + "1e999,3\n", (), "finite numbers, got 1e999 in row 30"),
    "whole numbers that float64 cannot tell apart": (
        lines("a,t", "123456789012345678{i:02},{half}"),
        (),
        "column 'a': expected whole numbers up to 2^53",
    ),
    "too many classes": (lines("a,t", "{half},c{i}", 50), (), "got too many: 50 different values in 50 rows"),
    "rows of different lengths": (FEW + "1,2\n", (), "t.csv, line 6: expected 3 fields, as the header has, got 2"),
    "a separator in a field": (FEW + "1,x,y,2\n", (), "line 6: expected 3 fields, as the header has, got 4"),
    "a quote that is never closed": (FEW + '1,"x,2\n', (), "a quote opened in line 6 or after it is never closed"),
    "a quote within a field": (FEW + '1,5" x,2\n1,7" y,2\n', (), "cannot be read as CSV"),
    "a quote within a field of the first row": (
        'a,b,t\nTV,40", 50" wide,3.5\nTV,2,4.5\n',
        (),
        "cannot be read as CSV (3 columns are",
    ),
    "another encoding": (FEW.encode() + "3,Zürich,2\n".encode("latin1"), (), "line 6: expected UTF-8, got byte 0xfc"),
    "UTF-16": (FEW.encode("utf-16"), (), "got UTF-16: save it as UTF-8"),
    "binary junk": (bytes(range(256)) * 20, (), "this is no CSV file"),
    "a spreadsheet": (b"PK\x03\x04" + b"\0" * 99, (), "a zip archive, as .xlsx"),
    "a gzipped file": (b"\x1f\x8b\x08" + b"\0" * 99, (), "gzipped: unpack it first"),
    "a header of quotes": ('a"\n,"b\n",t\n1,2,3\n', (), "t.csv"),
    "numbers too far apart": (lines("a,t", "{half},{i}") + "1e300,3\n-1e300,4\n", (), "float64 can hold the variance"),
    "line ends of old Macs": (FEW.replace("\n", "\r"), (), "carriage returns alone"),
    "a column with two wishes": (FEW, ("--drop", "a", "--numbers", "a"), "Column 'a' is named twice"),
    "another task": (FEW, ("--task", "clasification"), "Did you mean 'classification'?"),
    "no target": (FEW, ("--target",), "--target"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_gets_one_clear_error(name, cli):
    content, arguments, words = BAD[name]
    if isinstance(content, bytes):
        with open("t.csv", "wb") as file:
            file.write(content)
    else:
        text(content)
    target = () if "--target" in arguments else ("--target", "t")
    out, err = cli("train", "t.csv", *target, *arguments, *TINY, code=2)
    assert out == ""
    if arguments != ("--target",):  # which the parser refuses, in a box
        errors = [line for line in err.splitlines() if not line.startswith("backend ")]
        assert len(errors) == 1
        assert errors[0].startswith("error: ")
    assert words in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


def test_of_a_damaged_file_only_our_errors_are_heard():
    raw, damage = Path(written("h.csv", 60)).read_bytes(), random.Random(SEED)
    refused = []
    for _ in range(200):
        damaged = bytearray(raw)
        for _ in range(damage.choice((1, 1, 3, 20))):
            place = damage.randrange(len(damaged))
            junk = bytes(damage.choice(b'",\n;\r0a\xff\0') for _ in range(damage.randrange(4)))
            damaged[place : place + damage.randrange(30)] = junk
        Path("damaged.csv").write_bytes(damaged)
        try:
            read_table("damaged.csv", "price")
        except AnyfwError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all("damaged.csv" in message or message.startswith("Column '") for message in refused)


def bad_parquet(kind: str) -> str:
    frame = houses(50)
    if kind == "dates":
        frame = frame.with_columns(day=pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 19), eager=True))
    if kind == "nested":
        frame = frame.with_columns(pair=pl.concat_list("area", "rooms"))
    frame.write_parquet("t.parquet")
    raw = Path("t.parquet").read_bytes()
    if kind == "truncated":
        Path("t.parquet").write_bytes(raw[: len(raw) // 2])
    if kind == "damaged":
        Path("t.parquet").write_bytes(raw[:200] + bytes(400) + raw[600:])
    if kind == "empty":
        frame.clear().write_parquet("t.parquet")
    return "t.parquet"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "not a Parquet file, or truncated or corrupt"),
        ("damaged", "truncated or corrupt"),
        ("dates", "column 'day': expected numbers or categories, got dates"),
        ("nested", "column 'pair': expected numbers or texts, got nested values"),
        ("empty", "expected rows below the header, got none"),
    ],
)
def test_a_bad_parquet_file_gets_one_clear_error(kind, words, cli):
    _, err = cli("train", bad_parquet(kind), "--target", "price", *TINY, code=2)
    assert [line.startswith("error: ") for line in err.splitlines()] == [False, True]
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "none.csv", "--target", "price"), "none.csv: there is no such file"),
        (("train", "folder.csv", "--target", "price"), "folder.csv: expected a file, got a folder"),
        (("train", "h.csv"), "Which column of h.csv is to be predicted? Add --target NAME. Columns: number, street"),
        (("train", "digits", "--target", "price"), "--target: for tables (.csv, .tsv, .parquet) alone, and digits is"),
        (("predict", "runs/h", "none.csv"), "none.csv: there is no such file"),
        (("predict", "runs/h", "less.csv"), "and 'area' (is it 'Area'?), 'town' is not among them"),
        (("predict", "runs/h", "empty.csv"), "expected rows below the header, got none"),
        (("predict", "runs/h", "words.csv"), "column 'area': expected numbers, as in training, got 'large' in row 1"),
        (("predict", "runs/h", "far.csv"), "column 'area': expected finite numbers near"),
        (("predict", "runs/h", "h.csv", "--id", "stret"), "no column 'stret'. Did you mean 'street'?"),
        (
            ("predict", "runs/h", "ids.parquet", "--id", "several"),
            "column 'several': expected texts, numbers or dates, g",
        ),
        (
            ("predict", "runs/h", "ids.parquet", "--id", "raw"),
            "got values of the type Binary. Take another one for --id",
        ),
        (("predict", "runs/h", "h.csv", "--kind", "label"), "its outputs are no classes. Use kind='output'"),
        (("predict", "runs/h", "h.csv", "--id", "street", "--out", "p.npy"), "--id: an array has no place for it"),
        (("predict", "runs/h", "h.csv", "--out", "none/p.csv"), "its folder does not exist"),
        (("predict", "runs/digits", "h.csv"), "was not trained on a table, and h.csv is one"),
        (("predict", "runs/digits", "digits", "--id", "a"), "--id: for tables"),
        (("eval", "runs/digits", "h.csv"), "was not trained on a table, and h.csv is one"),
        (("eval", "runs/h", "blind.csv"), "expected the target 'price', and there is no such column"),
        (("eval", "runs/h", "unpriced.csv"), "expected rows with a target, got none"),
        (("train", "--resume", "runs/h", "--target", "dear"), "--target dear: this run has price"),
    ],
)
def test_bad_commands_get_one_clear_error(arguments, words, cli):
    frame = houses()
    cli("train", written("h.csv"), "--target", "price", "--drop", "dear", *TINY)
    cli("train", "digits", *TINY)
    Path("folder.csv").mkdir()
    frame.rename({"area": "Area"}).drop("town").write_csv("less.csv")
    frame.clear().write_csv("empty.csv")
    frame.with_columns(area=pl.Series(["1", "large"] * 150)).write_csv("words.csv")
    frame.with_columns(area=pl.lit(1e300)).write_csv("far.csv")
    frame.with_columns(several=pl.concat_list("area"), raw=pl.lit(b"a")).write_parquet("ids.parquet")
    frame.drop("price").write_csv("blind.csv")
    frame.with_columns(price=pl.lit(None, dtype=pl.Float64)).write_csv("unpriced.csv")
    out, err = cli(*arguments, code=2)
    assert out == ""
    assert [line for line in err.splitlines() if line.startswith("error: ")][-1:] == err.splitlines()[-1:]
    assert words in err
    assert not list(Path().glob("**/.anyfw-*"))


def test_without_polars_the_extra_is_named(monkeypatch, cli):
    path = written("h.csv")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r"^Reading tables needs polars: pip install 'anyfw\[tables\]'$"):
        read_table(path, "price")
    _, err = cli("train", path, "--target", "price", code=2)
    assert err.splitlines()[-1] == "error: Reading tables needs polars: pip install 'anyfw[tables]'"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: read_table({"a": [1, 2]}), ConfigError, "expected the name of the target"),
        (lambda: read_table({"a": [1, 2]}, "a", valid=1.0), ConfigError, "shares valid from 0 to 1"),
        (lambda: read_table({"a": [1, 2]}, "a", test=0.0), ConfigError, "test above 0"),
        (
            lambda: read_table({"a": [1, 2]}, "a", drop="id"),
            ConfigError,
            "expected several texts, got 'id' alone",
        ),
        (lambda: read_table({"a": [1, 2]}, "a", missing=[-999]), ConfigError, "expected texts, got -999. Write it as"),
        (lambda: read_table([[1, 2]], "a"), DataError, "polars or pandas frame, a dict of columns or a path, got list"),
        (lambda: read_table({"a": [1, 2], "b": [1]}, "a"), DataError, "expected columns of one length"),
        (lambda: read_table({1: [1, 2]}, "a"), DataError, "with a text as its name"),
        (lambda: read_table(pl.scan_parquet("lost.parquet"), "a"), DataError, "lost.parquet"),
        (
            lambda: read_table(houses(), "price", dtype="int8"),
            ConfigError,
            "expected 'float32' or 'float64', got 'int8'",
        ),
        (lambda: learnt().encode(houses(), "float16"), ConfigError, "expected 'float32' or 'float64', got 'float16'"),
        (
            lambda: Columns.fit(houses(), "price", valid=0.1),
            ConfigError,
            "no wish 'valid'. There are: task, categories, numbers, drop, missing",
        ),
        (lambda: read_table("rows.txt", "a"), FileFormatError, "a file that ends in .csv, .tsv, .parquet"),
        (
            lambda: data.load(text(FEW)),
            ConfigError,
            r"read_table\(path, target\), or anyfw train t.csv --target NAME",
        ),
        (lambda: Columns.from_config({"version": 1}), FileFormatError, "this describes no table's columns"),
        (lambda: Columns.from_config({"version": 2}), FileFormatError, "Update anyfw"),
        (lambda: Columns.from_config([]), FileFormatError, "this describes no table's columns"),
    ],
)
def test_bad_calls(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert isinstance(caught.value, AnyfwError)


# What was learnt


def learnt() -> Columns:
    return Columns.fit(houses(), "dear", categories=["code"], drop=["price"])


def test_columns_are_json_and_come_back():
    columns = learnt()
    config = columns.to_config()
    again = Columns.from_config(json.loads(json.dumps(config)))
    assert again == columns
    assert again.to_config() == config
    assert json.dumps(config).count("Main Street") == 0  # of a column that is left out nothing is kept but its name


@pytest.mark.parametrize(
    "wrong",
    [
        {"numbers": [{"name": "a", "mean": "0", "deviation": 1.0}]},
        {"numbers": [{"name": "a", "mean": 0.0, "deviation": 0.0}]},
        {"numbers": [{"name": "a", "mean": float("nan"), "deviation": 1.0}]},
        {"categories": [{"name": "a", "values": [1, 2]}]},
        {"categories": [{"name": "a", "values": ["x"], "width": -1}]},
        {"categories": [{"nam": "a"}]},
        {"target": None},
        {"missing": 5},
    ],
)
def test_damaged_columns_are_refused(wrong):
    with pytest.raises(FileFormatError, match="this describes no table's columns"):
        Columns.from_config({**learnt().to_config(), **wrong})


def test_encoding_is_what_it_says():
    columns = Columns(
        (Number("a", 10.0, 2.0, indicator=True), Number("b", 1.0, 1.0, "comma")),
        (Category("c", ("x", "y"), pooled=True, missing=True), Category("d", ("u", "3"))),
        Target("t"),
        MISSING,
    )
    assert columns.layout == (3, (4, 2), (0, 0))
    rows = {
        "d": ["3.0", "u", "new", None],
        "more": [1, 2, 3, 4],
        "c": ["y", "new", None, "x"],
        "b": ["1,5", "2", "-1", "1"],
        "a": [14, None, 10, 8],
    }
    expected = [[2, 0.5, 0, 1, 1], [0, 1, 1, 2, 0], [0, -2, 0, 3, -1], [-1, 0, 0, 0, -1]]
    assert columns.encode(rows).tolist() == expected
    assert columns.encode(rows).dtype == np.float32
    assert columns.encode(rows, "float64").dtype == np.float64
    # A code of -1 is a row of zeros.
    y = nn.CategoryColumns(*columns.layout)(columns.encode(rows))
    assert y[2].tolist() == [0, -2, 0, 0, 0, 0, 1, 0, 0]


def test_decoded_rows_are_what_was_put_in():
    columns, rows = learnt(), houses().drop("price", "dear")
    found = columns.decode(columns.encode(rows))
    assert set(found) == set(columns.used)
    assert found["town"] == rows["town"].to_list()
    assert found["rooms"] == pytest.approx(rows["rooms"].to_list())
    for name in ("area", "code"):
        seen = [(one, other) for one, other in zip(found[name], rows[name], strict=True) if one != "other"]
        assert [one is None for one, _ in seen] == [other is None for _, other in seen]
        given = [(one, other) for one, other in seen if one is not None]
        assert [one for one, _ in given] == [pytest.approx(other, abs=1e-4) for _, other in given]
    assert any(value is None for value in found["area"])


def test_the_order_of_columns_changes_no_bit():
    columns, frame = learnt(), houses()
    expected = columns.encode(frame)
    shuffled = frame.select(list(reversed(frame.columns))).drop("dear", "price", "land").with_columns(more=pl.lit(1))
    assert columns.encode(shuffled).tobytes() == expected.tobytes()
    table = read_table(frame, "dear", categories=["code"], drop=["price"], test=1.0, columns=columns)
    assert table.test[0].tobytes() == expected.tobytes()


def test_what_was_not_in_training_is_told(caplog):
    frame = houses().filter(pl.col("area").is_not_null())
    columns = Columns.fit(frame, "price", drop=["dear"])
    new = frame.with_columns(
        pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("Bern")).otherwise(pl.col("town")).alias("town"),
        pl.when(pl.int_range(pl.len()) < 2).then(None).otherwise(pl.col("area")).alias("area"),
        pl.lit(1).alias("garden"),
    )
    with caplog.at_level(logging.INFO, logger="anyfw"):
        x = columns.encode(new)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "The table: columns that the net does not know are left alone: garden",
        "'area': 2 values are missing, and none was in training",
        "'town': 3 values were rare or absent in training, as 'Bern'",
    ]
    assert x[:3, -1].tolist() == [-1, -1, -1]
    assert x[:2, list(columns.used).index("area")].tolist() == [0, 0]


# The commands


def test_predictions_on_raw_rows_are_those_on_encoded_ones(cli):
    path = written("h.csv")
    out, err = cli("train", path, "--target", "dear", "--drop", "price", "--categories", "code", *TINY)
    assert "town    category  one-hot" in err
    assert "h: 240 training and 60 test rows" in err
    assert re.search(r"h: [0-9.]+ % of 60 test rows right", out)
    net = nn.from_config(read_json("runs/h/config.json")["net"])
    state, metadata = read_tensors("runs/h/model.safetensors")
    net.load_state_dict(state)
    columns = Columns.from_config(metadata["metadata"]["columns"])
    y = net(columns.encode(houses()))
    expected = np.exp(y - y.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)

    # Columns in another order, more of them, and no target: the same to the bit.
    houses().select(list(reversed(houses().columns))).drop("dear").with_columns(more=pl.lit(1)).write_csv("other.csv")
    for name in ("h.csv", "other.csv", written("h.parquet")):
        cli("predict", "runs/h", name, "--kind", "probability", "--out", f"{name}.out.csv")
    first = Path("h.csv.out.csv").read_bytes()
    assert Path("other.csv.out.csv").read_bytes() == first
    assert Path("h.parquet.out.csv").read_bytes() == first
    found = pl.read_csv("h.csv.out.csv")
    assert found.columns == ["row", "no", "yes"]
    np.testing.assert_allclose(found.select("no", "yes").to_numpy(), expected, atol=1e-6)

    _, err = cli("predict", "runs/h", "other.csv", "--id", "street", "--out", "labels.csv")
    labels = pl.read_csv("labels.csv")
    assert labels.columns == ["street", "prediction"]
    assert labels["street"].to_list() == houses()["street"].to_list()
    assert labels["prediction"].to_list() == [("no", "yes")[i] for i in expected.argmax(axis=1)]
    assert "columns that the net does not know are left alone: more" in err
    shown = json.loads(cli("predict", "runs/h", "other.csv", "--json")[0])
    assert shown["predictions"] == labels["prediction"].to_list()
    cli("predict", "runs/h", "h.csv", "--kind", "output", "--out", "p.npy")
    np.testing.assert_allclose(np.load("p.npy"), y, atol=1e-5)
    np.save("x.npy", columns.encode(houses()))
    _, err = cli("predict", "runs/h", "x.npy", "--kind", "output", "--out", "again.npy")
    assert "x.npy: taken as encoded rows (columns.encode); raw ones come as a .csv, .tsv or .parquet" in err
    np.testing.assert_array_equal(np.load("again.npy"), np.load("p.npy"))


def test_eval_measures_the_rows_held_out_or_all_of_another_table(cli):
    ask = lambda *arguments: json.loads(cli(*arguments, "--json")[0])  # noqa: E731
    trained = ask("train", written("h.csv"), "--target", "price", "--drop", "dear", *TINY)
    assert ask("eval", "runs/h")["test_rmse"] == trained["test_rmse"]
    houses(200, seed=1).write_csv("sold.csv")
    found = ask("eval", "runs/h", "sold.csv")
    answers = ask("predict", "runs/h", "sold.csv")["predictions"]
    expected = np.sqrt(np.mean((np.array(answers) - houses(200, seed=1)["price"].to_numpy()) ** 2))
    assert found["test_rmse"] == pytest.approx(expected, rel=1e-5)
    _, err = cli("eval", "runs/h", "sold.csv")
    assert "sold: 200 test rows" in err
    assert "sold.csv is not the file that runs/h/model.safetensors was trained on: its rows were not held out" in err
    assert "is not the file" not in cli("eval", "runs/h")[1]
    assert "\n0 CategoryColumns " in cli("profile", "runs/h", "sold.csv", "--rows", 8)[0]
    assert cli("verify", "runs/h", "--backends", "numpy", "strict")[0]
    assert cli("gradcheck", "runs/h", "--rows", 4)[0]


def test_the_report_shows_rows_in_the_words_of_the_table(cli):
    def page() -> str:
        return Path("runs/h/report.html").read_text(encoding="utf-8")

    cli("train", written("h.csv"), "--target", "price", "--drop", "dear", "--valid", 0.1, *TINY)
    assert "anyfw train h.csv --seed 0" in page()
    assert "--target price --drop dear" in page()
    head = r"<th[^>]*>row</th>.*<th[^>]*>area</th>.*<th[^>]*>town</th>"
    assert re.search(head, page())
    assert "New, York" in page()
    first = re.search(r"[0-9a-f]{64}", page())[0]
    # Made anew from the folder and the table, it finds the same rows, and that they are the same.
    out, err = cli("report", "runs/h")
    assert f"report      {Path('runs/h/report.html')}" in out
    assert first in page()
    assert "warning" not in err
    assert re.search(head, page())
    # On another table there are no training rows to be compared with.
    houses(200, seed=1).write_csv("sold.csv")
    cli("report", "runs/h", "sold.csv")
    assert "200 test rows" in page()


def test_a_table_model_is_exported_for_encoded_rows(cli):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    cli("train", written("h.csv"), "--target", "dear", "--drop", "price", "--categories", "code", *TINY)
    out, _ = cli("export", "runs/h", "h.onnx", "--output", "probability")
    assert re.search(r"column 0 +area: \(value - [0-9.]+\) / [0-9.]+, 0 where it is missing", out)
    assert re.search(r"column \d+ +1 where area is missing, else 0", out)
    assert re.search(r"column \d+ +town: 0 \S.*, 1 .*, -1 any other", out)
    columns = Columns.from_config(read_tensors("runs/h/model.safetensors")[1]["metadata"]["columns"])
    assert any(category.width for category in columns.categories)
    session = runtime.InferenceSession("h.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: columns.encode(houses())})
    cli("predict", "runs/h", "h.csv", "--kind", "probability", "--out", "p.npy")
    np.testing.assert_allclose(found, np.load("p.npy"), atol=1e-5)


def test_rows_without_a_target_are_left_out_and_told(cli):
    frame = houses().with_columns(pl.when(pl.col("rooms") == 1).then(None).otherwise(pl.col("price")).alias("price"))
    gone = int((frame["rooms"] == 1).sum())
    frame.write_csv("h.csv")
    _, err = cli("train", "h.csv", "--target", "price", *TINY)
    assert f"{gone} rows have no value of 'price' and will not be used" in err
    assert f"of its {300 - gone} rows (20 %)" in err


def run_files(folder: str) -> tuple[dict[str, bytes], object]:
    state, _ = read_tensors(f"{folder}/model.safetensors")
    history = {name: values for name, values in read_json(f"{folder}/history.json").items() if name != "seconds"}
    return {name: value.tobytes() for name, value in state.items()}, history


def test_a_run_is_reproducible_and_resumes_to_the_bit(cli, monkeypatch):
    train = ("train", written("h.csv"), "--target", "dear", "--categories", "code", "--valid", 0.1, "--dropout", 0.2)
    cli(*train, *TINY, "--out", "one")
    cli(*train, *TINY, "--out", "two")
    assert run_files("one") == run_files("two")
    monkeypatch.setenv("ANYFW_MAX_STEPS", "10")
    cli(*train, *TINY, "--out", "three", "--checkpoint-every", "4steps")
    monkeypatch.delenv("ANYFW_MAX_STEPS")
    Path("three/model.safetensors").unlink()
    for path in Path("three").glob("checkpoint-000000010*"):
        path.unlink()
    cli("train", "--resume", "three")
    assert run_files("three") == run_files("one")


def test_a_table_that_changed_is_not_gone_on_with(cli):
    cli("train", written("h.csv"), "--target", "price", *TINY, "--checkpoint-every", "2steps")
    for path in ("runs/h/model.safetensors", max(map(str, Path("runs/h").glob("checkpoint-*")))):
        Path(path).unlink()
    houses(301).write_csv("h.csv")
    _, err = cli("train", "--resume", "runs/h", code=2)
    assert "error: h.csv has changed since this run began" in err


def test_a_table_that_changed_is_not_measured_as_if_it_was_held_out(cli):
    cli("train", written("h.csv"), "--target", "price", *TINY)
    with open("h.csv", "a", encoding="utf-8") as file:
        file.write(Path("h.csv").read_text(encoding="utf-8").splitlines()[-1] + "\n")
    for arguments in (("eval", "runs/h"), ("eval", "runs/h", Path("h.csv").absolute())):
        out, err = cli(*arguments, code=2)
        assert out == ""
        assert "h.csv has changed since runs/h/model.safetensors was trained on it, and which of its rows were" in err
    assert "warning: the net is not measured" in cli("report", "runs/h")[1]


# What a net learns from it


def test_an_interaction_of_categories_is_learnt(cli):
    # The answer is whether two categories of 30 vectors each fall into like groups: neither tells a thing alone.
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 30, 6000), rng.integers(0, 30, 6000)
    rows = {"left": [f"l{i}" for i in left], "right": [f"r{i}" for i in right], "same": left % 3 == right % 3}
    pl.DataFrame(rows).write_csv("pairs.csv")
    found = json.loads(
        cli("train", "pairs.csv", "--target", "same", "--hidden", 64, 32, "--epochs", 15, "--lr", 0.01, "--json")[0]
    )
    assert found["test_accuracy"] > 0.98  # 0.667 where nothing is learnt
    assert read_json("runs/pairs/config.json")["net"]["layers"][0]["widths"] == [5, 5]


def test_a_notebook_trains_on_a_table_and_predicts_raw_rows():
    table = read_table(houses(1000), target="price", drop=["dear"])
    first = nn.CategoryColumns(*table.columns.layout)
    net = nn.Sequential(first, nn.Linear(first.out_features, 32), nn.ReLU(), nn.Linear(32, table.outputs))
    trainer = Trainer(net, losses.MSELoss(), optim.Adam(net.parameters(), lr=0.03), metrics=["rmse"], progress=False)
    trainer.fit(table.train, epochs=40)
    deviation = float(table.test[1].std())
    assert trainer.evaluate(table.test)["rmse"] < 0.2 * deviation
    house = {"area": [80.0], "town": ["Rome"], "lift": ["true"], "rooms": [3], "code": [7]}
    answer = trainer.predict(table.columns.encode(house))
    assert answer[0, 0] == pytest.approx(80 * 2 + 30, rel=0.25)
