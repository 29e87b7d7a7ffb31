"""What the documentation site needs beside mkdocs: links to files of the repository, pages of the reference, roles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_ROLE = re.compile(r":(?:class|func|mod|meth|data|attr|ref):(?=<code>)")
_PAGE = "# `{module}`\n\n::: {module}\n"


def modules() -> list[str]:
    """Rooms and single files of the library that have a page of their own."""
    package = ROOT / "src" / "limbeck"
    rooms = [path.parent.name for path in package.glob("*/__init__.py")]
    files = [
        path.stem for path in package.glob("*.py") if not path.stem.startswith("__") and path.stem != "moved"
    ]
    return sorted(rooms) + sorted(files)


def on_files(files: Files, config: Any) -> Files:
    """Add the page of each room."""
    for name in modules():
        page = _PAGE.format(module=f"limbeck.{name}")
        files.append(File.generated(config, f"reference/{name}.md", content=page))
    return files


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Links out of ``docs`` lead to the repository."""
    return markdown.replace("](../", f"]({config.repo_url}/blob/main/")


def on_page_content(html: str, **_: Any) -> str:
    """A docstring's roles are plain names."""
    return re.sub(r"<code>~", "<code>", _ROLE.sub("", html))
