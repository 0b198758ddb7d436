"""Writes docs/api/schema.yaml, or with --check says whether it still fits the code."""

from __future__ import annotations

import io
import logging
import os
import sys

from deploy.embedded.config import ROOT

FILE = ROOT / "docs" / "api" / "schema.yaml"


def main() -> int:
    # the schema needs no servers, only settings that parse
    os.environ |= {
        "SECRET_KEY": "schema" * 8,
        "DATABASE_URL": "postgresql://schema@127.0.0.1:1/schema",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    import django
    from django.core.management import call_command

    django.setup()
    out = io.StringIO()
    logging.disable(logging.WARNING)
    call_command("spectacular", "--validate", stdout=out)
    if "--check" in sys.argv:
        if not FILE.exists() or FILE.read_text() != out.getvalue():
            print("docs/api/schema.yaml does not fit the code: run `make schema` and look at the difference")
            return 1
        return 0
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(out.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
