"""Register all function packages and put into service what is not yet under an engineer's hand."""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser

from inference.package.errors import PackageError
from inference.package.verify import is_helper
from portal.accounts.models import Organisation
from portal.core.errors import Refused
from portal.functions.actions import move
from portal.functions.register import register_package


class Command(BaseCommand):
    help = (
        "Register the packages below CONCORD_PACKAGES; new ones are commissioned on their card's figures, "
        "except those that call themselves a trial: these wait for an engineer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", help="slug of the organisation whose engineers look after them from now on")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = Organisation.objects.filter(slug=options["owner"]).first() if options["owner"] else None
        if options["owner"] and owner is None:
            raise CommandError(f"there is no organisation {options['owner']}")
        folders = sorted(path.parent for path in settings.PACKAGES_ROOT.glob("*/function.toml"))
        for folder in folders:
            try:
                if is_helper(folder):
                    continue
                version = register_package(folder, owner)
            except (PackageError, Refused) as error:
                raise CommandError(f"package {folder.name}: {error}") from error
            if version.state == version.State.REGISTERED and not version.manifest.get("trial"):
                move(version, version.State.COMMISSIONING, note="Shipped with Concord")
                move(version, version.State.IN_SERVICE, note="Commissioned on the figures of its card")
            self.stdout.write(f"{version}: {version.state}")
