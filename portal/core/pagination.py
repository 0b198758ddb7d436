"""Paging by key: page 1,000 costs what page 1 costs."""

from rest_framework.pagination import CursorPagination


class KeysetPagination(CursorPagination):
    """Newest first by primary key; `?limit=` up to 200."""

    ordering = "-pk"
    page_size_query_param = "limit"
    max_page_size = 200
