"""Encrypt the vault anew under the newest column key, or say how much is not."""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from portal.deidentify import rotation


class Command(BaseCommand):
    help = (
        "Encrypt what the vault holds under the newest of CONCORD_VAULT_COLUMN_KEYS. Pseudonyms stay what they are. "
        "It may be ended at any time and goes on where it is needed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only count what lies under older keys")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if not options["check"]:
                count = rotation.rotate(lambda column, count: self.stdout.write(f"{column}: {count}"))
                self.stdout.write(f"{count} values were encrypted anew")
            left = rotation.waiting()
        except rotation.Unreadable as error:
            raise CommandError(str(error)) from error
        if left:
            raise CommandError(f"{left} values lie under older keys")
        self.stdout.write("everything lies under the newest key")
