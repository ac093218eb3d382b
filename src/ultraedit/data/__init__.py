"""Files of facts as streams of `Edit`, for every published layout and for our own.

    for edit in stream("zsre:zsre_10k.json", limit=1000):
        ...

One file per format; the table of all of them is `FORMATS`. Nothing is ever left out in silence:
a row that cannot be used raises, and `check` lists all that would.
"""

from ultraedit.data._check import check
from ultraedit.data._files import find_root
from ultraedit.data._findings import ANSWER_TOKENS, KINDS, Findings, find
from ultraedit.data._identity import digest, is_there, located
from ultraedit.data._registry import FORMATS, DataFormat, list_formats
from ultraedit.data._report import CheckReport
from ultraedit.data._spec import DataSpec, parse_spec
from ultraedit.data._stream import read, stream
from ultraedit.data._wording import OddWordings

__all__ = [
    "ANSWER_TOKENS",
    "FORMATS",
    "KINDS",
    "CheckReport",
    "DataFormat",
    "DataSpec",
    "Findings",
    "OddWordings",
    "check",
    "digest",
    "find",
    "find_root",
    "is_there",
    "list_formats",
    "located",
    "parse_spec",
    "read",
    "stream",
]
