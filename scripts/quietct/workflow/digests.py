"""Which package files a script depends on, and a digest of what their code does.

Snakemake reruns a rule when its script is newer than its results, edited or not, and does not see an edit in a module
that the script imports. Rules therefore carry this digest as a parameter, and the profiles switch that look at the
clock off. Comments, docstrings and line breaks are not in the digest: they change no result.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = "quietct"

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

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
        for path in _read_module(waiting.pop(), folder).imports:
            if path not in found:
                found.add(path)
                waiting.append(path)
    return sorted(path for path in found if path.relative_to(folder).as_posix() not in NO_INFLUENCE)


def code_digest(script: str | Path) -> str:
    """Give a digest (20 hexadecimal digits of SHA-256) of the code of a script and all package files that it imports.

    It stays the same when comments, docstrings, blank lines or line breaks change.
    """
    folder = Path(script).parent
    digest = hashlib.sha256()
    for path in [Path(script), *code_files(script)]:
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(_read_module(path, folder).code)
    return digest.hexdigest()[:20]


def folder_digest(folder: str | Path) -> str:
    """Give a digest (20 hexadecimal digits of SHA-256) of names and bytes of a folder's files, such as templates."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:20]


class _Module(NamedTuple):
    imports: tuple[Path, ...]  # files of the package
    code: bytes  # its digest


@cache
def _read_module(path: Path, folder: Path) -> _Module:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # The name may be a module itself: from quietct.ct import noise.
            names += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    files = dict.fromkeys(file for name in names for file in _files_of(name, folder))
    return _Module(tuple(files), hashlib.sha256(ast.unparse(tree).encode()).digest())


@cache
def _files_of(name: str, folder: Path) -> tuple[Path, ...]:
    """Give the files that Python runs to import a module of the package: the packages above it and itself."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return ()
    bases = [folder.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    candidates = (file for base in bases for file in (base / "__init__.py", base.with_suffix(".py")))
    return tuple(file for file in candidates if file.is_file())
