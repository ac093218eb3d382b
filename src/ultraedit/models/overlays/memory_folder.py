"""Models with memories as folders: the unedited model, the memories, and how they are chosen.

wise.json               the layer, the nonlinearity, the thresholds
memories.safetensors    memory-0, memory-1, ...: weights of the layer, shape (d_in, d_out)
base/                   the unedited model with its tokenizer
README.md               how to load it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.models.activation import activation_named
from ultraedit.models.overlays.routing import RoutedWeight, Router

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CONFIG, WEIGHTS, BASE, CARD = "wise.json", "memories.safetensors", "base", "README.md"

FORMAT = 1
"""Version of the folder's layout. A reader refuses what is newer than itself."""

_TEXT = """# A model edited by WISE

Its edits are in {count} beside the weights of `{path}`. For each sequence a router
chooses, by the tokens of the prompt, between that layer's own weight and a memory. `base/` is the
unedited model: loaded by itself it knows nothing of the edits.

```python
from transformers import AutoTokenizer
from ultraedit import load_wise

model = load_wise("PATH OF THIS FOLDER")       # a plain transformers model with hooks on that layer
tokenizer = AutoTokenizer.from_pretrained("PATH OF THIS FOLDER/base")
```

On the command line: `ultraedit ask PATH-OF-THIS-FOLDER "QUESTION"`.
"""


def has_memories(folder: Path) -> bool:
    """Whether a folder holds a model with memories."""
    return (folder / CONFIG).is_file()


def load_wise(folder: str | Path, **options: Any) -> PreTrainedModel:
    """Load a model that WISE has edited, for programs of one's own.

    Args:
        folder: What a run leaves in ``model``, or `EditResult.save` anywhere.
        options: Handed to transformers' `from_pretrained`, such as ``dtype`` and ``device_map``.

    Returns:
        The unedited model of transformers in eval mode, with hooks that let one layer use its
        memories. What its sequences were given in the last call is ``ultraedit_router.chosen``.

    Raises:
        ConfigError: If it is no such folder, or of a newer version of this package.
        StorageError: If a file of it is damaged.
    """
    from transformers import AutoModelForCausalLM

    path = Path(folder).expanduser()
    if not has_memories(path):
        raise ConfigError(
            f"{folder} holds no model that WISE has edited: it has no {CONFIG}. Load an ordinary "
            "model with transformers or ultraedit.load."
        )
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path / BASE, **options)
    model.requires_grad_(False)
    attach_memories(model, path)
    return model.eval()


def attach_memories(model: PreTrainedModel, folder: Path) -> None:
    """Put the memories of a folder on its unedited model, in the model's dtype and on its device.

    Raises:
        ConfigError: If the folder is of a newer version of this package, or of another model.
        StorageError: If a file of it is damaged.
    """
    about = _read_config(folder)
    path = about["path"]
    try:
        weight = model.get_submodule(path).weight
    except AttributeError:
        raise ConfigError(
            f"The memories in {folder} are of {path}, which its base lacks."
        ) from None
    weights = _read_weights(folder)
    thresholds = about["thresholds"]
    if sorted(weights) != sorted(f"memory-{number}" for number in range(len(thresholds))):
        raise StorageError(f"{folder / WEIGHTS} does not hold the memories that {CONFIG} names.")
    memories = [
        # json knows no infinity: a memory that never answers has no threshold.
        RoutedWeight(
            weights[f"memory-{number}"].to(weight.device, weight.dtype),
            float("inf") if threshold is None else threshold,
        )
        for number, threshold in enumerate(thresholds)
    ]
    function = activation_named(about["activation"])
    Router(path, memories, about["activation"], function, about["per"]).attach(model)


def write_memories(router: Router, folder: Path) -> None:
    """Write the memories of a model, and how to load them.

    Args:
        router: What chooses between them.
        folder: An existing folder.
    """
    from safetensors.torch import save_file

    finite = [
        memory.threshold if memory.threshold < float("inf") else None for memory in router.memories
    ]
    about = {
        "format": FORMAT,
        "path": router.path,
        "activation": router.activation,
        "per": router.per,
        "thresholds": finite,
    }
    tensors = {
        f"memory-{number}": memory.weight.detach().cpu().contiguous()
        for number, memory in enumerate(router.memories)
    }
    save_file(tensors, folder / WEIGHTS)
    count = len(router.memories)
    text = _TEXT.format(path=router.path, count=f"{count} memor{'y' if count == 1 else 'ies'}")
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(text, encoding="utf-8")


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
        format = about["format"]
        missing = {"path", "activation", "per", "thresholds"} - about.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"Cannot read {folder / CONFIG}: {error!r}. Get it again.") from None
    if format != FORMAT:
        raise ConfigError(
            f"{folder / CONFIG} is of format {format}; this version reads format {FORMAT}. "
            "Run `pip install --upgrade ultraedit`."
        )
    if missing:
        raise StorageError(f"{folder / CONFIG} does not say {min(missing)}. Get it again.")
    return about


def _read_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"Cannot read {folder / WEIGHTS}: {error}. Get it again.") from None
    return weights
