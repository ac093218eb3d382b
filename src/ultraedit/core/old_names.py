"""Modules, classes and methods under the names that they had before `docs/design/014-house.md`.

``from ultraedit.types import Edit`` goes on to work, with a `DeprecationWarning` that names the
new module. So do old names of classes (`find_class`) and of methods (`renamed_method`). Nothing in
this package uses the old names.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OLD_NAMES = {
    "ability": "evaluation.ability",
    "apply": "export.apply",
    "checkpoints": "lifelong.checkpoints",
    "compare": "export.difference",
    "config": "runs.config",
    "doctor": "tools.doctor",
    "encoding": "core.encoding",
    "enrich": "data.enrichment",
    "errors": "core.errors",
    "evaluate": "evaluation.scoring",
    "files": "core.files",
    "linalg": "core.linalg",
    "metrics": "evaluation.metrics",
    "monitors": "evaluation.monitors",
    "patch": "models.weights",
    "perplexity": "evaluation.perplexity",
    "plan": "tools.plan.estimate",
    "probes": "evaluation.probes",
    "recall": "models.overlays.facts",
    "reproduce": "tools.reproduce",
    "routing": "models.overlays.routing",
    "runs.export": "export.change export.delta export.lora export.model export.overlays",
    "second_moments": "host.second_moments",
    "session": "lifelong.session",
    "settings": "runs.resolution",
    "stats": "core.stats",
    "store": "runs.store",
    "store.delta": "models.delta",
    "store.lora": "export.peft_adapter",
    "stream": "data.streams",
    "trace": "host.trace",
    "training": "runs.train",
    "tune": "tools.tune",
    "types": "core.types",
    "ultraeditbench": "tools.bench_builder",
}
"""Old name -> new name, both under ``ultraedit``. Several where one module has become several."""

_ROOT = "ultraedit."


class _OldModule(ModuleType):
    """An old name that hands out what the new module has."""

    def __getattr__(self, name: str) -> Any:
        """The attribute of the new module."""
        if name.startswith("__"):
            raise AttributeError(name)
        modules = [import_module(each) for each in new_names(self.__name__)]
        has_it = next((each for each in modules if hasattr(each, name)), modules[0])
        return getattr(has_it, name)


class _OldNames:
    """Finds the old names, behind everything else that finds modules.

    A finder and a loader by their methods alone: `importlib.abc` would take a third of the time
    that the package takes to import.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module that says that it has moved; None where the name is none of the old ones."""
        if fullname.removeprefix(_ROOT) not in OLD_NAMES or not fullname.startswith(_ROOT):
            return None
        return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module under its old name."""
        return _OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Say where it is now."""
        _warn(module.__name__, ", ".join(new_names(module.__name__)), stacklevel=3)


def new_names(old: str) -> list[str]:
    """Where the contents of a module with an old name are now."""
    return [_ROOT + each for each in OLD_NAMES[old.removeprefix(_ROOT)].split()]


def find_old_names() -> None:
    """Let the old names be imported. Done once, by the package itself."""
    if not any(isinstance(each, _OldNames) for each in sys.meta_path):
        sys.meta_path.append(_OldNames())


def find_class(module: str, name: str, renamed: Mapping[str, str]) -> Any:
    """What a module has under an old name, for its ``__getattr__``.

    Args:
        module: Its name.
        name: What is asked for.
        renamed: New names by old ones.

    Raises:
        AttributeError: If it has no such old name.
    """
    if name not in renamed:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _warn(f"{module}.{name}", renamed[name], stacklevel=4)
    return getattr(sys.modules[module], renamed[name])


def renamed_method(old: str, new: str) -> Callable[..., Any]:
    """A method for its old name, which warns and calls the new one."""

    def method(self: Any, *arguments: Any, **values: Any) -> Any:
        _warn(f"{type(self).__name__}.{old}", new, stacklevel=3)
        return getattr(self, new)(*arguments, **values)

    method.__name__, method.__doc__ = old, f"The old name of `{new}`."
    return method


def _warn(old: str, new: str, stacklevel: int) -> None:
    text = f"{old} is {new} now; the old name will go."
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)
