"""`anyfw export`: a trained net as a file that runs without anyfw."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from anyfw.cli import tables
from anyfw.cli.console import Json, Result, note
from anyfw.cli.open import Opened, open_net
from anyfw.core.errors import ConfigError
from anyfw.data.tables.shown import encoded_columns
from anyfw.interop import onnx
from anyfw.losses import Loss

# The largest relative difference from what anyfw computes; rounding in float32 stays below it.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Options:
    """Write a trained network as an ONNX file, which onnxruntime and other programs run.

    Scaling is part of it; rows of a table come encoded, and what stands in each column is told. The file is
    checked by onnx and, where onnxruntime is installed, run on a few random rows and compared. Exit code 1: it
    gives something else.

    examples:
      anyfw export runs/mnist mnist.onnx --output probability
      anyfw export model.safetensors model.onnx --input-shape time 12 --opset 21

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        out: the file, ending in .onnx; one that is there is replaced.
        output: output (of the last layer), probability (of each class), or label.
        input_shape: of one row: lengths, or names for axes of any length.
        input_dtype: of the rows: float32, float64, uint8, ...
        opset: the version of ONNX's operators.
    """

    model: Positional[Annotated[str, arg(metavar="RUN_OR_MODEL")]]
    out: Positional[Annotated[str, arg(metavar="OUT.onnx")]]
    output: Annotated[str, arg(metavar="KIND")] = "output"
    input_shape: Annotated[
        tuple[str, ...], arg(metavar="LENGTH ...", help_behavior_hint="(default: as the first layer tells)")
    ] = ()
    input_dtype: Annotated[
        str | None,
        arg(metavar="NAME", help_behavior_hint="(default: the network's; integers if it was trained on them)"),
    ] = None
    opset: Annotated[int, arg(metavar="N")] = 17
    json: Json = False


def run(options: Options) -> Result:
    """Open, write, run what was written."""
    if Path(options.out).suffix.lower() != ".onnx":
        raise ConfigError(
            f"expected a file name that ends in .onnx, the one kind that can be written, got '{options.out}'."
        )
    opened = open_net(options.model, "numpy")
    loss = None if options.output == "output" else _loss(opened)
    model = onnx.export(
        opened.net,
        options.out,
        output=options.output,
        loss=loss,
        input_shape=[int(axis) if axis.lstrip("-").isdigit() else axis for axis in options.input_shape] or None,
        input_dtype=options.input_dtype,
        opset=options.opset,
    )
    ran = find_spec("onnxruntime") is not None
    difference = onnx.check(options.out, opened.net, loss=loss) if ran else None
    if not ran:
        note("onnxruntime is not installed: the file was checked by onnx, but not run.")
    right = difference is None or difference <= _TOLERANCE
    size = Path(options.out).stat().st_size
    lines = [
        f"{options.out}: {len(model.graph.node)} nodes, {size:,} bytes, opset {options.opset}",
        f"  input       {_text(model.graph.input[0])}",
    ]
    columns = tables.columns_in(opened.metadata)
    encoded = [] if columns is None else encoded_columns(columns)
    lines += [f"    column {i:<3} {told}" for i, told in enumerate(encoded)]
    lines.append(f"  output      {_text(model.graph.output[0])}")
    if difference is not None:
        verdict = "" if right else f", more than {_TOLERANCE:g}: do not use it"
        lines.append(f"  compared    at most {difference:.2g} from anyfw in onnxruntime{verdict}")
    data = {
        "out": options.out,
        "model": str(opened.model),
        "bytes": size,
        "opset": options.opset,
        "input": _ends(model.graph.input[0]),
        "output": _ends(model.graph.output[0]),
        "difference": difference,
        **({"columns": encoded} if encoded else {}),
    }
    return Result("\n".join(lines), data, 0 if right else 1)


def _loss(opened: Opened) -> Loss:
    return opened.trainer(opened.metadata.get("task") or "classification").loss


def _ends(info: Any) -> dict[str, Any]:
    import onnx

    tensor = info.type.tensor_type
    shape = [axis.dim_param or axis.dim_value or None for axis in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return {"name": info.name, "dtype": dtype, "shape": shape}


def _text(info: Any) -> str:
    found = _ends(info)
    return f"{found['name']} ({', '.join('any' if n is None else str(n) for n in found['shape'])}) {found['dtype']}"
