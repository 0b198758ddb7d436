"""A package's card as HTML: markdown of strangers, so raw HTML and links to other places stay text."""

from __future__ import annotations

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

# "js-default" renders no raw HTML; links and images would lead out of the house
_markdown = MarkdownIt("js-default").disable(["link", "image", "autolink", "linkify", "reference"])
# on a phone a wide table is scrolled within its frame
_markdown.add_render_rule("table_open", lambda *_: '<div class="table-wrap"><table>')
_markdown.add_render_rule("table_close", lambda *_: "</table></div>")


def html(card: str) -> SafeString:
    """The card's markdown as HTML without scripts, links or images."""
    return mark_safe(_markdown.render(card))
