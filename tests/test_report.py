"""Pictures show the numbers that they are given; pages are whole, harmless and need no network."""

import base64
import builtins
import gc
import io
import math
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from anyfw import nn
from anyfw.core.errors import AnyfwError, ConfigError, MissingExtraError, OutputError, ShapeError, UnknownNameError
from anyfw.report import Page, plots
from tests.pages import Parsed

PNG = b"\x89PNG\r\n\x1a\n"


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def texts(axis):
    return [text.get_text() for text in axis.texts]


# Plots


def test_history_draws_what_it_is_given():
    axis = plots.history({"loss": [3.0, None, 1.0], "valid_loss": [4.0, 2.0, math.nan], "seconds": [1.0, 1.0, 1.0]})
    drawn = lines(axis)
    assert drawn.keys() == {"training", "validation"}
    np.testing.assert_array_equal(drawn["training"].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(drawn["training"].get_ydata(), [3.0, np.nan, 1.0])
    np.testing.assert_array_equal(drawn["validation"].get_ydata(), [4.0, 2.0, np.nan])
    assert list(lines(plots.history({"loss": [1.0]}))) == ["training"]
    assert list(lines(plots.history({"valid_f1": [1.0]}, "f1"))) == ["validation"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plots.history({"loss": [1.0]}, "los"), UnknownNameError, "Did you mean 'loss'"),
        (lambda: plots.history({"f1": [[0.1, 0.2]]}, "f1"), ConfigError, "one number per epoch"),
        (lambda: plots.losses("both"), UnknownNameError, "regression"),
        (lambda: plots.confusion(np.ones((2, 3))), ShapeError, "square matrix"),
        (lambda: plots.confusion(np.ones((2, 2)), ["a"]), ShapeError, "a name per class"),
        (lambda: plots.confusion(np.ones((0, 0))), ShapeError, "square matrix"),
        (lambda: plots.calibration(np.ones((3, 2)), [0, 1]), ShapeError, "probabilities"),
        (lambda: plots.calibration([], []), ShapeError, "probabilities"),
        (lambda: plots.calibration([[3.0, -2.0]], [0]), ConfigError, "from 0 to 1"),
        (lambda: plots.calibration([0.5], [0], bins=0), ConfigError, "at least 1 bin"),
        (lambda: plots.decision_boundary(len, np.ones((3, 3)), [0, 1, 1]), ShapeError, r"expected x \(n, 2\)"),
        (lambda: plots.decision_boundary(len, np.ones((3, 2)), [0, 1]), ShapeError, r"expected x \(n, 2\)"),
        (lambda: plots.decision_boundary(lambda p: p[:5], np.ones((3, 2)), [0, 1, 1]), ShapeError, "predictions"),
        (lambda: plots.regression_fit(lambda p: p, np.ones((3, 2)), np.ones(3)), ShapeError, "one feature"),
        (lambda: plots.regression_fit(lambda p: p[:3], np.ones(3), np.ones(3)), ShapeError, "one prediction"),
    ],
)
def test_bad_input_of_plots(call, error, words):
    with pytest.raises(error, match=words):
        call()


X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    "predict",
    [
        lambda p: (p[:, 0] > 0.5).astype(int),
        lambda p: (p[:, :1] > 0.5).astype(int),
        lambda p: np.stack([0.5 - p[:, 0], p[:, 0] - 0.5], axis=1),
        lambda p: np.stack([1 - np.clip(p[:, 0], 0, 1), np.clip(p[:, 0], 0, 1)], axis=1),
    ],
    ids=["labels", "a column of labels", "scores", "probabilities"],
)
def test_decision_boundary(predict):
    axis = plots.decision_boundary(predict, X, [0, 1, 0, 1], resolution=41, class_names=["left", "right"])
    image = axis.images[0].get_array()
    left, right = np.asarray(image[20, 2]), np.asarray(image[20, -3])
    assert left[2] > left[0]  # blue
    assert right[0] > right[2]  # vermilion
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["left", "right"]
    assert sum(len(points.get_offsets()) for points in axis.collections if len(points.get_offsets())) >= 4
    boundary = [path.vertices for c in axis.collections for path in c.get_paths() if len(path.vertices) > 20]
    assert any(np.allclose(vertices[:, 0], 0.5, atol=0.03) for vertices in boundary)


def test_decision_boundary_where_one_class_is_everywhere():
    axis = plots.decision_boundary(lambda p: np.zeros(len(p), dtype=int), X, [0, 1, 2, 1], resolution=20)
    assert len(axis.get_legend().get_texts()) == 3


def test_regression_fit():
    axis = plots.regression_fit(lambda p: 2 * p, [[0.0], [3.0]], [[0.0], [6.0]])
    line = lines(axis)["fit"]
    np.testing.assert_allclose(line.get_ydata(), 2 * np.asarray(line.get_xdata()))
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (0.0, 3.0)


def test_shapes_of_losses_are_the_losses():
    drawn = lines(plots.losses("regression"))
    e = np.asarray(drawn["MSELoss"].get_xdata())
    np.testing.assert_allclose(drawn["MSELoss"].get_ydata(), e**2)
    np.testing.assert_allclose(drawn["L1Loss"].get_ydata(), np.abs(e))
    np.testing.assert_allclose(drawn["HuberLoss"].get_ydata(), np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5))
    drawn = lines(plots.losses("classification"))
    m = np.asarray(drawn["HingeLoss"].get_xdata())
    np.testing.assert_allclose(drawn["HingeLoss"].get_ydata(), np.maximum(0, 1 - m))
    np.testing.assert_allclose(drawn["BCEWithLogitsLoss"].get_ydata(), np.log1p(np.exp(-m)), rtol=1e-12)
    np.testing.assert_array_equal(drawn["0-1 loss"].get_ydata(), m <= 0)


def test_activation_and_its_derivative():
    drawn = lines(plots.activation(nn.Tanh()))
    x = np.asarray(drawn["y"].get_xdata())
    np.testing.assert_allclose(drawn["y"].get_ydata(), np.tanh(x))
    np.testing.assert_allclose(drawn["dy/dx"].get_ydata(), 1 - np.tanh(x) ** 2)
    jump = np.asarray(lines(plots.activation(nn.ReLU()))["dy/dx"].get_ydata())
    assert np.isnan(jump).sum() == 1


def test_all_activations():
    from anyfw.nn import activation

    made = plots.activations()
    drawn = {axis.get_title(loc="left").partition("(")[0] for axis in made.axes if axis.axison}
    public = {name for name in nn.__all__ if getattr(getattr(nn, name), "__module__", "") == activation.__name__}
    assert drawn == public - {"Softmax", "LogSoftmax"}  # those are no functions of one number
    assert len(plots.activations([nn.ReLU(), nn.Tanh()]).axes) == 2


def test_by_layer():
    axis = plots.gradient_norms({"0": [1.0, 0.5], "2": [0.0, 0.1]})
    assert axis.get_yscale() == "log"
    np.testing.assert_array_equal(lines(axis)["2"].get_ydata(), [np.nan, 0.1])
    axis = plots.weights({"0": [1.0, 2.0, 3.0], "2": [1.0, None, 2.0], "4": [2.0, 2.0, 2.0]})
    assert axis.get_yscale() == "linear"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["0", "2", "4"]
    colours = {line.get_color() for line in axis.get_lines()}
    assert len(colours) == 3


def test_confusion():
    axis = plots.confusion([[1200, 0], [3, 9]], ["cat", "horse"])
    assert sorted(texts(axis)) == ["1,200", "3", "9"]
    np.testing.assert_allclose(axis.images[0].get_array(), [[1, 0], [0.25, 0.75]])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cat", "horse"]
    plots.confusion(np.zeros((3, 3)))  # a class without rows divides by nothing
    assert not texts(plots.confusion(np.ones((30, 30))))


def test_calibration():
    # Ten rows at .95, nine of them right; four at .65, one of them right.
    sure = [0.95] * 10 + [0.65] * 4
    labels = [0] * 9 + [1] + [0] + [1] * 3
    axis = plots.calibration(np.stack([sure, 1 - np.asarray(sure)], axis=1), labels)
    heights = [bar.get_height() for bar in axis.patches]
    np.testing.assert_allclose(heights, [0, 0, 0, 0, 0, 0, 0.25, 0, 0, 0.9])
    assert texts(axis) == ["4", "10"]
    # (10 * .05 + 4 * .4) / 14
    assert axis.get_title(loc="left") == "Calibration: expected error 15.0 %"
    np.testing.assert_allclose(lines(axis)["at the mean probability"].get_xdata(), [0.65, 0.95])
    np.testing.assert_array_equal(lines(axis)["perfect"].get_ydata(), [0, 1])
    # Of two classes, the probability of class 1 says all.
    one = plots.calibration(1 - np.asarray(sure), labels)
    assert [bar.get_height() for bar in one.patches] == heights


def test_every_plot_is_reached_from_the_package():
    import anyfw

    for name in ("history", "decision_boundary", "regression_fit", "losses", "activations", "weights", "calibration",
                 "confusion", "gradient_norms"):  # fmt: skip
        assert getattr(anyfw.report.plots, name) is getattr(plots, name)
    assert anyfw.interop.__name__ == "anyfw.interop"
    with pytest.raises(AttributeError, match="plotz"):
        anyfw.report.plotz  # noqa: B018


def test_graph_of_a_chain():
    axis = plots.graph(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), loss="MSELoss")
    for words in ("x", "Linear", "2 → 3", "Tanh", "MSELoss", "y[0]", "delta[1]", "dx", "forward: values"):
        assert words in texts(axis)
    # One arrow down and one up between each two of the four boxes.
    assert len(arrows(axis)) == 6


def arrows(axis):
    from matplotlib.patches import FancyArrowPatch

    return [patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)]


def boxes(axis):
    from matplotlib.patches import FancyBboxPatch

    return [patch for patch in axis.patches if isinstance(patch, FancyBboxPatch)]


@pytest.mark.parametrize(
    ("net", "n_boxes", "n_lines", "signs"),
    [
        (lambda: nn.Linear(2, 2), 3, 2, []),
        (lambda: nn.Sequential(), 2, 1, []),
        (lambda: nn.Residual(nn.Linear(2, 2)), 3, 4, ["+"]),
        (lambda: nn.Residual(nn.Linear(2, 2), nn.Linear(2, 2)), 4, 5, ["+"]),
        (lambda: nn.Parallel(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU())), 5, 6, ["cat"]),
        (lambda: nn.Parallel(nn.Linear(2, 2), nn.Identity(), nn.Tanh(), combine="add"), 5, 7, ["+"]),
        (lambda: nn.Residual(nn.Residual(nn.Sequential(nn.Linear(2, 2), nn.ELU()))), 4, 7, ["+", "+"]),
        (lambda: nn.Parallel(nn.Residual(nn.Sequential()), nn.BatchNorm1d(3)), 3, 6, ["+", "cat"]),
    ],
)
def test_graph_of_branches(net, n_boxes, n_lines, signs):
    axis = plots.graph(net())
    assert len(boxes(axis)) == n_boxes
    assert len(arrows(axis)) == 2 * n_lines
    assert sorted(text for text in texts(axis) if text in ("+", "cat")) == sorted(signs)
    assert plots.figure_png(axis.figure, dpi=40).startswith(PNG)
    # No box lies upon another, and all lie within the picture.
    extents = [patch.get_bbox() for patch in boxes(axis)]
    for i, one in enumerate(extents):
        assert axis.get_xlim()[0] <= one.x0 < one.x1 <= axis.get_xlim()[1]
        assert axis.get_ylim()[0] <= one.y0 < one.y1 <= axis.get_ylim()[1]
        assert not any(one.overlaps(other) for other in extents[i + 1 :])
    for circle in (patch for patch in axis.patches if hasattr(patch, "radius")):
        (x, y), r = circle.center, circle.radius
        assert not any(b.x0 < x + r and x - r < b.x1 and b.y0 < y + r and y - r < b.y1 for b in extents)


def test_graph_of_a_layer_of_the_users():
    class Block(nn.Layer):
        def __init__(self):
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x, /, *, train=False):
            return self.a.forward(x, train=train)

        def backward(self, dy, /):
            return self.a.backward(dy)

    axis = plots.graph(nn.Sequential(Block()), loss=None, title="A net")
    assert {"Block", "2 layers inside"} <= set(texts(axis))
    assert axis.get_title(loc="left") == "A net"


def test_each_plot_draws_into_the_given_axis():
    _, axes = plots.figure(2, 4)
    drawn = [
        plots.history({"loss": [1.0]}, "loss", axes[0]),
        plots.decision_boundary(lambda p: p[:, 0] > 0.5, X, [0, 1, 0, 1], axes[1], resolution=9),
        plots.regression_fit(lambda p: p, [0.0, 1.0], [0.0, 1.0], axes[2]),
        plots.losses("regression", axes[3]),
        plots.weights({"0": [1.0]}, axes[4]),
        plots.confusion(np.eye(2), None, axes[5]),
        plots.graph(nn.ReLU(), axes[6]),
        plots.activation(nn.ReLU(), axes[7]),
    ]
    assert all(got is axis for got, axis in zip(drawn, axes, strict=True))


def test_png_is_an_image_and_the_same_each_time():
    from PIL import Image

    first, second = (plots.figure_png(plots.history({"loss": [2.0, 1.0]}).figure) for _ in range(2))
    assert first == second
    image = Image.open(io.BytesIO(first))
    image.load()
    assert image.size[0] > 500
    assert len(image.convert("RGB").getcolors(1 << 20)) > 10


def test_figures_leave_nothing_behind():
    # No pyplot, so no display is asked for and no figure stays in its registry.
    script = (
        "import sys\n"
        "from anyfw.report import Page, plots\n"
        "assert 'matplotlib' not in sys.modules, 'imported before the first picture'\n"
        "plots.figure_png(plots.history({'loss': [1.0]}).figure)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=None)
    gc.collect()
    before = count_figures()
    for _ in range(3):
        plots.figure_png(plots.history({"loss": [1.0]}).figure, dpi=30)
    gc.collect()
    assert count_figures() <= before


def count_figures():
    from matplotlib.figure import Figure

    return sum(issubclass(type(thing), Figure) for thing in gc.get_objects())


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (
        lambda: plots.history({"loss": [1.0]}),
        lambda: plots.graph(nn.ReLU()),
        lambda: plots.confusion(np.eye(2)),
        lambda: plots.losses(),
        lambda: plots.activations(),
        lambda: plots.weights({"0": [1.0]}),
        lambda: plots.decision_boundary(lambda p: p[:, 0] > 0, X, [0, 1, 0, 1]),
        lambda: plots.regression_fit(lambda p: p, [0.0, 1.0], [0.0, 1.0]),
    ):
        with pytest.raises(MissingExtraError, match=re.escape("pip install 'anyfw[plots]'")):
            call()


# Pages


EVIL = "</code></style></title><script>alert('x')</script><img src=http://evil.example/a.png onerror=\"b()\"> & \" '"


def whole_page():
    picture = plots.figure_png(plots.history({"loss": [2.0, 1.0]}).figure, dpi=50)
    return (
        Page("Report")
        .heading("Numbers")
        .text("First.\n\nSecond.")
        .table(
            [["relu", 0.98217, 12345, None, True, math.nan], ["tanh", 1e-9, -3, 2.5, False, math.inf]], list("abcdef")
        )
        .heading("Numbers")
        .heading("Ünïcode ✓", 3)
        .image(picture, "the loss by epoch", "Loss")
        .heading("Code")
        .code("for i in range(3):\n    pass")
    )


def test_page_parses_and_shows_what_was_given():
    parsed = Parsed(str(whole_page()))
    for words in ("Report", "First.", "Second.", "0.9822", "12,345", "–", "yes", "1e-09", "nan", "inf", "Ünïcode ✓"):
        assert words in parsed.text
    assert "for i in range(3):\n    pass" in parsed.text
    assert len(parsed.all("p")) == 2
    assert [attributes["id"] for attributes in parsed.all("h2")] == ["numbers", "numbers-2", "code"]
    assert [attributes["href"] for attributes in parsed.all("a")] == ["#numbers", "#numbers-2", "#code"]
    assert "width=device-width" in str(parsed.all("meta"))
    assert "prefers-color-scheme: dark" in str(whole_page())


def test_page_asks_the_network_for_nothing():
    text = str(whole_page())
    outside = r"https?:|//[a-z]|url\(|@import|<script|<link|<iframe|<object|srcset"
    assert not re.findall(outside, re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    for _, attributes in Parsed(text).elements:
        assert all(
            value is None or value.startswith(("#", "data:"))
            for name, value in attributes.items()
            if name in ("src", "href")
        )
    assert "default-src 'none'" in text


def test_page_keeps_its_images():
    from PIL import Image

    (image,) = Parsed(str(whole_page())).all("img")
    kind, _, data = image["src"].partition(",")
    assert kind == "data:image/png;base64"
    Image.open(io.BytesIO(base64.b64decode(data, validate=True))).load()
    assert image["alt"] == "the loss by epoch"
    # As large as the figure in inches, however fine it is.
    assert (int(image["width"]), int(image["height"])) == pytest.approx((5.6 * 96, 3.8 * 96), abs=2)
    assert "width" not in Parsed(str(Page("t").image(PNG, "no size"))).all("img")[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Page(EVIL),
        lambda: Page("t").heading(EVIL),
        lambda: Page("t").heading(EVIL).heading("b").heading("c"),  # also in the list of contents
        lambda: Page("t").text(EVIL),
        lambda: Page("t").code(EVIL),
        lambda: Page("t").table([[EVIL]], [EVIL]),
        lambda: Page("t").image(PNG, EVIL, EVIL),
    ],
    ids=["title", "heading", "contents", "text", "code", "table", "image"],
)
def test_text_of_users_is_escaped(make):
    text = str(make())
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    parsed = Parsed(text)
    assert not parsed.all("script")
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert all(attributes["src"].startswith("data:") for attributes in parsed.all("img"))


def test_characters_that_html_cannot_hold(tmp_path):
    Page("a\x00b").text("half \ud800 a pair").write(tmp_path / "page.html")
    assert "half \ufffd a pair" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Page("t").image(b"GIF89a", "a"), "bytes of a PNG file"),
        (lambda: Page("t").heading("h", 1), "level 2, 3 or 4"),
    ],
)
def test_bad_input_of_pages(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_a_table_without_header_and_with_uneven_rows():
    parsed = Parsed(str(Page("t").table([[1, 2], [3]])))
    assert len(parsed.all("td")) == 3
    assert not parsed.all("th")
    assert Parsed(str(Page("t").table([], ["a"]))).all("th") == [{}]


def test_page_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "page.html"
    target.write_text("old")
    whole_page().write(target)
    assert target.read_text(encoding="utf-8") == str(whole_page())
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(OutputError) as caught:
        whole_page().write(tmp_path / "nowhere" / "page.html")
    assert isinstance(caught.value, AnyfwError)
