"""How every peer's script is called: SCRIPT INPUT OUT pages|ndjson THREADS."""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Call:
    input: str
    out: Path
    pages: bool
    threads: int


def call():
    path, out, form, threads = sys.argv[1:]
    return Call(path, Path(out).absolute(), form == "pages", int(threads))
