"""Create the identity schema, migrate, and grant each role exactly what its zone needs."""

from typing import Any

from django.core.management import BaseCommand, call_command
from django.db import connection

from portal.core.grants import apply_grants


class Command(BaseCommand):
    help = "Migrate the database as its owner and set the rights of concord_app and concord_identities."

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS identities")
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
        apply_grants(connection)
