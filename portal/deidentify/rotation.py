"""Encrypting the vault's columns anew, under the newest column key. Works in the identity zone only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.db import models, transaction

from portal.deidentify import vault

BATCH = 500
Column = tuple[type[models.Model], str]


class Unreadable(Exception):
    """A column's value that no key of this zone opens; its words name the row, never the value."""


def columns() -> Iterator[Column]:
    """The encrypted columns: every binary one in schema `identities`."""
    for model in apps.get_models():
        if model._meta.db_table.startswith('"identities".'):
            for field in model._meta.concrete_fields:
                if isinstance(field, models.BinaryField):
                    yield model, field.name


def rotate(say: Callable[[str, int], None] = lambda column, count: None) -> int:
    """Write what lies under older keys anew; returns how many values. Ended halfway, it goes on where it is needed.

    say  told a column and how many of its values were written so far
    Raises Unreadable for a value that no key opens; what came before it is done.
    """
    total = 0
    for model, name in columns():
        count = 0
        for keys in _batches(model):
            with transaction.atomic():
                rows = list(model._default_manager.select_for_update().filter(pk__in=keys).only("pk", name))
                old = [row for row in rows if _older(row, name)]
                for row in old:
                    setattr(row, name, vault.cipher().rotate(bytes(getattr(row, name))))
                model._default_manager.bulk_update(old, [name])
            count += len(old)
            if old:
                say(f"{model._meta.db_table}.{name}".replace('"', ""), count)
        total += count
    return total


def waiting() -> int:
    """How many values still lie under an older key. Raises Unreadable as `rotate`."""
    return sum(
        _older(row, name)
        for model, name in columns()
        for keys in _batches(model)
        for row in model._default_manager.filter(pk__in=keys).only("pk", name)
    )


def _batches(model: type[models.Model]) -> Iterator[list[object]]:
    last = None
    while True:
        rows = model._default_manager.order_by("pk")
        keys = list((rows if last is None else rows.filter(pk__gt=last)).values_list("pk", flat=True)[:BATCH])
        if not keys:
            return
        yield keys
        last = keys[-1]


def _older(row: models.Model, name: str) -> bool:
    value = bytes(getattr(row, name))
    if not value or vault.opens_with_newest(value):
        return False
    try:
        vault.cipher().decrypt(value)
    except InvalidToken:
        raise Unreadable(f"{row._meta.label} {row.pk}: no key opens {name}") from None
    return True
