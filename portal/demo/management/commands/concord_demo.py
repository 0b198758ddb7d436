"""Set up the demo, or send its scans."""

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser

from portal.demo import people, scans


class Command(BaseCommand):
    help = "Make the demo's people and programmes (--json), or send its scans through the doors (--send)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", type=Path, help="write who may sign in here")
        parser.add_argument("--send", type=Path, help="demo.json of the running portal")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["send"]:
            try:
                scans.send_all(options["send"], settings.HOME, self.stdout.write)
            except OSError as error:
                raise CommandError(str(error)) from error
            return
        password = os.environ.get("CONCORD_DEMO_PASSWORD", "")
        if len(password) < 10:
            raise CommandError("CONCORD_DEMO_PASSWORD must have at least 10 characters")
        path: Path = options["json"]
        known = {u["name"]: u["token"] for u in json.loads(path.read_text())} if path.exists() else {}
        made = people.set_up(password, known)
        # whole or not at all: the tokens of the people that exist already are read from it
        fresh = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(made, out)
        os.replace(fresh, path)
        self.stdout.write(f"{len(made)} people are set up")
