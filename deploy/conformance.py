"""Writes the tables of docs/administrator/conformance.md, or with --check says whether they still fit the code.

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; the words around it are people's.
"""

from __future__ import annotations

import os
import re
import sys

from deploy.embedded.config import ROOT

FILE = ROOT / "docs" / "administrator" / "conformance.md"
BLOCK = re.compile(r"<!-- begin (.+?) -->\n.*?<!-- end \1 -->", re.DOTALL)


def filled(text: str, tables: dict[str, str]) -> str:
    """The page with its tables as they are now. Raises KeyError for a table that is not known or not in the page."""
    named = BLOCK.findall(text)
    if missing := {*tables} ^ {*named}:
        raise KeyError(", ".join(sorted(missing)))
    return BLOCK.sub(lambda m: f"<!-- begin {m[1]} -->\n{tables[m[1]]}\n<!-- end {m[1]} -->", text)


def main() -> int:
    # no servers are needed, only settings that parse
    os.environ |= {
        "SECRET_KEY": "conformance" * 4,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    import django

    django.setup()
    from portal.archive.capabilities import statement_tables

    text = FILE.read_text()
    new = filled(text, statement_tables())
    if "--check" in sys.argv:
        if new != text:
            print("docs/administrator/conformance.md does not fit the code: run `python -m deploy.conformance`")
        return int(new != text)
    FILE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
