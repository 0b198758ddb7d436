"""Accept negotiation for DICOMweb: the view decides, so that every media range of PS3.18 is welcome."""

from __future__ import annotations

from typing import Any

from rest_framework.negotiation import BaseContentNegotiation


class ViewDecides(BaseContentNegotiation):
    """Never answers 406 by itself."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0] if parsers else None

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type
