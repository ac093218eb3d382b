"""Programs that import modules under their names of before go on to work, and are told."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import import_module

import pytest

from ultraedit.core.old_names import OLD_NAMES, new_names, renamed_method

OLD_EXPORTS = ("edited_model", "export_delta", "export_lora", "export_model", "export_beside")
"""What ``ultraedit.runs.export`` had, whose parts are in several modules now."""


def own_names(module) -> list[str]:
    """What a module says that it has, else the functions and classes that are its own."""
    own = [
        key for key, it in vars(module).items() if getattr(it, "__module__", "") == module.__name__
    ]
    return list(getattr(module, "__all__", own))


@pytest.fixture
def anew(monkeypatch):
    """Forget the old modules, so that each is imported as if for the first time."""
    for old in OLD_NAMES:
        monkeypatch.delitem(sys.modules, f"ultraedit.{old}", raising=False)
    yield
    for old in OLD_NAMES:
        sys.modules.pop(f"ultraedit.{old}", None)


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_leads_to_the_new_module_and_warns(old, anew):
    name = f"ultraedit.{old}"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        before = import_module(name)
    told = f"{name} is {', '.join(new_names(name))} now; the old name will go."
    assert told in [str(each.message) for each in said if each.category is DeprecationWarning]
    modules = [import_module(each) for each in new_names(name)]
    public = own_names(modules[0]) if len(modules) == 1 else OLD_EXPORTS
    assert public
    for each in public:
        now = next(module for module in modules if each in own_names(module))
        assert getattr(before, each) is getattr(now, each)
    with pytest.raises(AttributeError):
        _ = before.there_is_no_such_thing


def test_what_is_imported_by_the_documented_old_names_is_the_same(anew):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ultraedit.errors import ConfigError
        from ultraedit.store.delta import load_delta
        from ultraedit.types import Edit
    import ultraedit as ue
    from ultraedit.models import delta

    assert (Edit, ConfigError, load_delta) == (ue.Edit, ue.ConfigError, delta.load_delta)


def test_a_module_that_never_was_is_still_missing():
    with pytest.raises(ModuleNotFoundError):
        import_module("ultraedit.no_such_module")


def test_the_old_names_cost_nothing_where_they_are_not_used():
    code = "import sys, ultraedit; assert not {'torch', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("old", "new"), [("Nobody", "NullObserver"), ("Judgement", "LossValue")])
def test_an_old_class_name_leads_to_the_new_class_and_warns(old, new):
    from ultraedit.core import types

    with pytest.warns(DeprecationWarning, match=f"types.{old} is {new} now"):
        assert getattr(types, old) is getattr(types, new)
    with pytest.raises(AttributeError, match="no attribute 'Nobodies'"):
        _ = types.Nobodies


def test_an_old_method_name_calls_the_new_method_and_warns():
    class Host:
        judge = renamed_method("judge", "patch_loss")

        def patch_loss(self, *arguments, **values):
            return arguments, values

    with pytest.warns(DeprecationWarning, match=r"Host.judge is patch_loss now"):
        assert Host().judge(1, sink=2) == ((1,), {"sink": 2})
