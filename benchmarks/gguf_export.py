"""Write an edited GGUF file of seven billion weights in the memory of one tensor.

    python -m benchmarks.gguf_export                      # 14.5 GB of disk for a minute or two
    python -m benchmarks.gguf_export --type q8_0 --base-type q8_0
    python -m benchmarks.gguf_export --layers 2 --hidden 256 --heads 4 --edited 2   # a small one

The base file has the tensors of Mistral-7B-v0.3. Those to be edited are random, all others are
zeros that take no room on the disk. ``export --as gguf`` finds the edited tensors, writes the copy
and reads it back by `export.gguf.write_edited`, and so does this, in a process of its own, once for
one edited tensor and once for several. Not measured is what comes before: the base model is loaded
to make sure that it is that of the run. Peak memory is ``VmHWM`` since the modules were imported,
less what was resident then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine

if TYPE_CHECKING:
    from ultraedit.export.gguf import Written
    from ultraedit.export.gguf_tensors import Weight
    from ultraedit.models.gguf_file import GgufFile

ROOT = Path(__file__).parent.parent
VOCABULARY = 32768


def main() -> None:
    """Write the files and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--edited", type=int, default=8, help="edited tensors, from the last layer")
    parser.add_argument("--base-type", default="f16", choices=["f16", "q8_0"])
    parser.add_argument("--type", default="f16", choices=["f16", "q8_0", "bf16", "f32"])
    parser.add_argument("--folder", default=None, help="where to write [default: a temporary one]")
    parser.add_argument("--no-write", action="store_true", help="leave the JSON as it is")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_export(**json.loads(options.child))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        base = Path(folder) / "base.gguf"
        write_base(
            base, options.base_type, options.layers, options.hidden, options.heads, options.edited
        )
        rows = [
            _measured(base, options.layers, edited, options.type) for edited in (1, options.edited)
        ]
        result = {
            "base_type": options.base_type,
            "type": options.type,
            "layers": options.layers,
            "hidden": options.hidden,
            "base_bytes": base.stat().st_size,
            "exports": rows,
        }
    print(json.dumps(result, indent=2))
    if not options.no_write:
        print(f"Written to {machine.write('gguf.json', result).relative_to(ROOT)}")


def _modules(layers: int, count: int) -> list[str]:
    return [f"model.layers.{layer}.mlp.down_proj" for layer in range(layers - count, layers)]


def write_base(
    path: Path, kind: str, layers: int, hidden: int, heads: int, random_layers: int
) -> None:
    """Write a GGUF file of zeros but for the down projections of its last layers.

    Args:
        path: A new file. It is sparse: zeros take no room where the file system can do that.
        kind: Type of all matrices, ``f16`` or ``q8_0``.
        layers: Number of layers.
        hidden: Hidden size; the MLP is 3.5 times as wide, as in Mistral.
        heads: Attention heads, a quarter of them for keys and values.
        random_layers: In how many layers, from the last one, ``down_proj`` is random.
    """
    import gguf
    import numpy as np

    from ultraedit.models.gguf_file import GgufFile, encoded, stored_bytes

    matrix = gguf.GGMLQuantizationType[kind.upper()]
    wide, narrow = hidden * 7 // 2, hidden * max(1, heads // 4) // heads
    block = {
        "attn_norm": (hidden,),
        "attn_q": (hidden, hidden),
        "attn_k": (narrow, hidden),
        "attn_v": (narrow, hidden),
        "attn_output": (hidden, hidden),
        "ffn_norm": (hidden,),
        "ffn_gate": (wide, hidden),
        "ffn_up": (wide, hidden),
        "ffn_down": (hidden, wide),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (VOCABULARY, hidden),
        **{f"blk.{i}.{name}.weight": shape for i in range(layers) for name, shape in block.items()},
        "output_norm.weight": (hidden,),
        "output.weight": (VOCABULARY, hidden),
    }
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(max(1, heads // 4))
    data = 0
    for name, shape in shapes.items():
        one = matrix if len(shape) == 2 else gguf.GGMLQuantizationType.F32
        size = stored_bytes(shape, one)
        # The writer wants to know the rows of bytes where numbers come in blocks.
        in_bytes = (*shape[:-1], stored_bytes(shape[-1:], one))
        packed = one == gguf.GGMLQuantizationType.Q8_0
        given, dtype = (in_bytes, np.uint8) if packed else (shape, np.float16)
        writer.add_tensor_info(name, given, np.dtype(dtype), size, raw_dtype=one)
        data += _aligned(size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(_aligned(path.stat().st_size) + data)
    base = GgufFile(path)
    for module in _modules(layers, random_layers):
        tensor = base.tensors[f"blk.{module.split('.')[2]}.ffn_down.weight"]
        with path.open("r+b") as file:
            file.seek(tensor.offset)
            file.write(encoded(_random(module, tensor.shape), tensor.kind).data.cast("B"))


def _aligned(size: int) -> int:
    """A number of bytes up to where the next tensor may begin."""
    return -(-size // 32) * 32


def _random(name: str, shape: tuple[int, ...]) -> Any:
    """The same weights for the same name. float32."""
    import zlib

    import numpy as np

    generator = np.random.default_rng(zlib.crc32(name.encode()))
    weight = generator.standard_normal(shape, dtype=np.float32)
    weight *= np.float32(0.02)
    return weight


def _measured(base: Path, layers: int, edited: int, kind: str) -> dict[str, Any]:
    child = {"base": str(base), "layers": layers, "edited": edited, "kind": kind}
    command = [sys.executable, "-m", "benchmarks.gguf_export", "--child", json.dumps(child)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


class Weights(Mapping[str, "Weight"]):
    """Edited weights of a base file: random numbers of a hundredth of their size are added."""

    def __init__(self, template: GgufFile, layers: int, edited: int) -> None:
        """Edit the down projections of the last layers."""
        from ultraedit.export.gguf_tensors import tensor_names

        self._template, self._modules = template, _modules(layers, edited)
        self._names = tensor_names(template)

    def __len__(self) -> int:
        """Number of modules."""
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        """Paths of the modules."""
        return iter(self._modules)

    def __getitem__(self, module: str) -> Weight:
        """The weight of one module, read from the file and edited."""
        import numpy as np

        from ultraedit.export.gguf_tensors import Weight

        before = self._template.weight(self._names(module))
        after = _random(f"{module} edited", before.shape)
        after *= np.float32(0.01)
        after += before
        return Weight(before, after)


def export_edited(
    template: GgufFile, weights: Mapping[str, Weight], kind: str, out: Path
) -> tuple[int, tuple[Written, ...]]:
    """Find the tensors, write the file and read it back, as ``export --as gguf`` does.

    Returns:
        Size of the largest edited tensor in float32, in bytes, and what was written.
    """
    from ultraedit.core.files import staged
    from ultraedit.core.types import NullObserver
    from ultraedit.export.gguf import TYPES, write_edited
    from ultraedit.export.gguf_tensors import find_places

    places = find_places(template, weights, exact=True)
    chosen = {place.tensor: TYPES[kind] for place in places}
    with staged(out) as stage:
        written = write_edited(
            template, stage, places, weights, chosen, {"editor": "benchmark"}, NullObserver()
        )
    shapes = [template.tensors[place.tensor].shape for place in places]
    return max(4 * rows * columns for rows, columns in shapes), written


def _export(base: str, layers: int, edited: int, kind: str) -> dict[str, Any]:
    """Write the edited file in this process, and say what that took."""
    import ultraedit.export.gguf  # noqa: F401  # imported before memory is measured
    from ultraedit.models.gguf_file import GgufFile

    out = Path(base).with_name("edited.gguf")
    machine.reset_peak()
    resident = machine.peak_bytes()
    start = time.perf_counter()
    template = GgufFile(Path(base))
    largest, written = export_edited(template, Weights(template, layers, edited), kind, out)
    seconds = time.perf_counter() - start
    peak = machine.peak_bytes() - resident
    size = out.stat().st_size
    out.unlink()
    return {
        "edited_tensors": len(written),
        "file_bytes": size,
        "largest_tensor_float32_bytes": largest,
        "peak_bytes": peak,
        "peak_in_tensors": peak / largest,
        "peak_share_of_file": peak / size,
        "seconds": seconds,
        "least_kept": min(each.kept or 0.0 for each in written),
    }


if __name__ == "__main__":
    main()
