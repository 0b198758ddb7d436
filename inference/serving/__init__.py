"""Serving: packages in memory, images of many requests in one batch, reading beside the forward pass."""

from inference.serving.cache import PackageCache
from inference.serving.engine import Cancelled, Ended, Engine, Request, Source, TooSlow, ended

__all__ = ["Cancelled", "Ended", "Engine", "PackageCache", "Request", "Source", "TooSlow", "ended"]
