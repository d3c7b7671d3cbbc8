"""Which package files a script depends on, and a digest of them.

Snakemake reruns a rule when its script changes, but it does not see an edit in a module that the script imports.
Rules therefore carry this digest as a parameter.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "quietct"

# They say how a script starts, ends and puts its files in place, never what is in the files.
NO_INFLUENCE = frozenset(f"{PACKAGE}/{name}.py" for name in ("__init__", "errors", "files", "logs", "orphans"))


def code_files(script: str | Path) -> list[Path]:
    """Find the package files that a script imports, directly or through others.

    Parameters
    ----------
    script : path
        A Python file beside the package folder.

    Returns
    -------
    list of Path
        Sorted. Imports anywhere in a file count, also those inside functions.
    """
    folder = Path(script).parent
    found: set[Path] = set()
    waiting = [Path(script)]
    while waiting:
        for path in _imported_files(waiting.pop(), folder):
            if path not in found:
                found.add(path)
                waiting.append(path)
    return sorted(path for path in found if path.relative_to(folder).as_posix() not in NO_INFLUENCE)


def code_digest(script: str | Path) -> str:
    """Give a digest (20 hexadecimal digits of SHA-256) of the bytes of all package files that a script imports."""
    folder = Path(script).parent
    digest = hashlib.sha256()
    for path in code_files(script):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:20]


def folder_digest(folder: str | Path) -> str:
    """Give a digest (20 hexadecimal digits of SHA-256) of names and bytes of a folder's files, such as templates."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:20]


@cache
def _imported_files(path: Path, folder: Path) -> tuple[Path, ...]:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    return tuple(file for name in _imported_names(tree) for file in _files_of(name, folder))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            # The name may be a module itself: from quietct.ct import noise.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """Give the files that Python runs to import a module of the package: the packages above it and itself."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return
    for depth in range(1, len(parts) + 1):
        base = folder.joinpath(*parts[:depth])
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file():
                yield candidate
