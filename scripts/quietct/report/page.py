"""The page around the report's contents: templates, styles and scripts in one file without any network."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("base.css", "parts.css", "print.css")
SCRIPTS = ("theme.js", "table.js", "film.js", "hu.js", "panel.js", "viewer.js")


def render_page(contents: dict[str, Any], method_colours: dict[str, str]) -> str:
    """Fill the template.

    Parameters
    ----------
    contents : dict
        What report.html.j2 names. All texts are escaped.
    method_colours : dict of str to str
        Hex colours by method. They become classes `m0`, `m1`, ... of the style sheet, because the page allows no styles
        inside elements; `method_class` in the template gives the class.

    Returns
    -------
    str
        HTML with a Content-Security-Policy that allows the page's own scripts and styles by their SHA-256, pictures
        inside the page, and nothing else.
    """
    classes = {method: f"m{k}" for k, method in enumerate(method_colours)}
    colours = "".join(f".{classes[method]} {{ --method: {colour}; }}\n" for method, colour in method_colours.items())
    style = "\n".join([*(read_template(name) for name in STYLES), colours])
    scripts = [read_template(name) for name in SCRIPTS]
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src {_source(style)}; "
        f"script-src {' '.join(map(_source, scripts))}; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        **contents, policy=policy, style=style, scripts=scripts, method_class=lambda name: classes.get(name, "")
    )


def read_template(name: str) -> str:
    """Read a file of the folder `templates`."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
