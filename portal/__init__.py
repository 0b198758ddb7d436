"""The portal: one Django app for each step of a scan's way."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
