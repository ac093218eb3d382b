"""What `mkdocs build` needs beyond its plugins: pages of the repository, equations, code.

- Pages link to sources, results and notebooks by their paths in the repository, so that the links
  work in a clone too. The site gets a page or a file for each of these.
- A block of ``math``, and what stands between dollars on a page with such a block, becomes MathML,
  which browsers draw without a script.
- ``<!-- code: Name.method -->`` becomes the code of that name, as it is now.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from posixpath import relpath
from typing import Any
from urllib.parse import unquote

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"

SHIM = "https://unpkg.com/iframe-worker/shim"
"""What the theme loads for pages that are opened from a disk."""

REPOSITORY = "repository"
"""Folder of the site for what is outside `docs/`."""

LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
CODE = re.compile(r"^<!-- code: ([\w.]+) -->$", flags=re.MULTILINE)
INLINE_MATH = re.compile(r"(?<!`)\$([^$\n]+)\$(?!`)")
FENCE = re.compile(r"^(```.*?^```[^\n]*$)", flags=re.DOTALL | re.MULTILINE)
LANGUAGES = {".py": "python", ".toml": "toml", ".jsonl": "json", ".csv": "text", ".sh": "sh"}

MATH = {
    "name": "math",
    "class": "math",
    "format": lambda source, *_, **__: (
        f'<div class="math">{convert(source, display="block")}</div>'
    ),
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let blocks of ``math`` become MathML."""
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [MATH]}
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what the pages link to outside `docs/`, and what these link to in turn."""
    waiting = [DOCS / file.src_uri for file in files.documentation_pages()]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            if target in seen or target.is_relative_to(DOCS) or not target.exists():
                continue
            seen.add(target)
            files.append(_added(target, config))
            if target.suffix == ".md":
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Let links that leave `docs/` lead to the pages that were added for them."""
    source = _source(page.file)
    if "\n```math\n" in markdown:
        markdown = _outside_code(markdown, lambda text: INLINE_MATH.sub(_drawn, text))
    markdown = CODE.sub(lambda match: _code(match[1]), markdown)
    return _outside_code(markdown, lambda text: LINK.sub(lambda m: _moved(m, source, page), text))


def _drawn(match: re.Match[str]) -> str:
    return f'<span class="math-inline">{convert(match[1])}</span>'


def _code(name: str) -> str:
    """A block with the code of a function, class or method, and a line that says where it is.

    Raises:
        LookupError: If no file, or more than one, defines the name.
    """
    places = [
        (path, node)
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in _definitions(path.read_text(encoding="utf-8"), name.split("."))
    ]
    if len(places) != 1:
        raise LookupError(f"{len(places)} definitions of {name} in src, expected one.")
    ((path, node),) = places
    lines = path.read_text("utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
    code = textwrap.dedent("\n".join(lines))
    where = path.relative_to(ROOT).as_posix()
    return f'```{{ .python title="{where}" linenums="{node.lineno}" }}\n{code}\n```'


def _definitions(text: str, names: list[str]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """What has a dotted name in a module."""
    if names[-1] not in text:
        return
    nodes: list[ast.AST] = [ast.parse(text)]
    for name in names:
        inner = [child for node in nodes for child in ast.iter_child_nodes(node)]
        nodes = [
            node
            for node in inner
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        ]
    yield from nodes  # type: ignore[misc]


def _targets(page: Path) -> Iterator[Path]:
    """Paths that a Markdown page links to."""
    if page.suffix != ".md":
        return
    for part in FENCE.split(page.read_text(encoding="utf-8"))[::2]:
        for match in LINK.finditer(part):
            if "://" not in match[2] and not match[2].startswith("mailto:"):
                yield (page.parent / unquote(match[2])).resolve()


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    parts = FENCE.split(markdown)
    return "".join(part if at % 2 else change(part) for at, part in enumerate(parts))


def _moved(match: re.Match[str], source: Path, page: Page) -> str:
    if "://" in match[2] or match[2].startswith("mailto:"):
        return match[0]
    target = (source.parent / unquote(match[2])).resolve()
    if not target.exists():
        return match[0]
    link = relpath(_uri(target), str(Path(page.file.src_uri).parent))
    return f"{match[1]}{link}{match[3] or ''}{match[4]}"


def _uri(target: Path) -> str:
    """Path of a file in the sources of the site."""
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    path = f"{REPOSITORY}/{target.relative_to(ROOT).as_posix()}"
    if target.suffix == ".md":
        return path.replace("README.md", "readme.md")
    is_page = target.is_dir() or target.suffix == ".ipynb" or target.suffix in LANGUAGES
    return f"{path}.md" if is_page else path


def _source(file: File) -> Path:
    """Path of the file in the repository that a page of the site is made from."""
    path = file.src_uri.removeprefix(f"{REPOSITORY}/")
    if path == file.src_uri:
        return DOCS / path
    return ROOT / path.replace("readme.md", "README.md")


def _added(target: Path, config: MkDocsConfig) -> File:
    uri = _uri(target)
    if target.is_dir():
        names = sorted(path.name for path in target.iterdir() if path.name != "__pycache__")
        text = "\n".join(f"- `{name}`" for name in names)
        return File.generated(config, uri, content=_unsearched(target, text))
    if target.suffix == ".ipynb":
        return File.generated(config, uri, content=notebook(target))
    if target.suffix in LANGUAGES:
        code = (
            f'````{{ .{LANGUAGES[target.suffix]} linenums="1" }}\n{target.read_text("utf-8")}````'
        )
        return File.generated(config, uri, content=_unsearched(target, code))
    if target.suffix == ".md":
        text = target.read_text(encoding="utf-8")
        hidden = "---\nsearch:\n  exclude: true\n---\n" if target.name == "CHANGELOG.md" else ""
        return File.generated(config, uri, content=hidden + text)
    return File.generated(config, uri, abs_src_path=str(target))


def _unsearched(target: Path, text: str) -> str:
    title = target.relative_to(ROOT).as_posix()
    return f"---\nsearch:\n  exclude: true\nhide: [toc]\n---\n# {title}\n\n{text}\n"


def notebook(path: Path) -> str:
    """Turn a notebook with its outputs into a page."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(block for cell in cells for block in _blocks(cell)) + "\n"


def _blocks(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        text = "".join(output.get("text") or data.get("text/plain") or "")
        if "image/png" in data:
            yield f"![output](data:image/png;base64,{''.join(data['image/png']).strip()})"
        elif text.strip():
            yield f"```{{ .text .output }}\n{text.rstrip()}\n```"


def on_post_page(output: str, *, page: Page, **_: Any) -> str:
    """Take the search's worker for pages on a disk from the site instead of the network."""
    ours = relpath("assets/worker.js", str(Path(page.url).parent))
    return output.replace(SHIM, ours)


def on_post_template(output_content: str, *, template_name: str, **_: Any) -> str:
    """The same for the page that a server shows for a missing one."""
    return output_content.replace(SHIM, "/assets/worker.js")
