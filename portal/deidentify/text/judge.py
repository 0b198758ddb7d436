"""Say what one line that OCR read from an image is."""

from __future__ import annotations

from portal.deidentify.text.finder import Context, find, matcher
from portal.deidentify.text.lists import Lists, Verdict, normal
from portal.deidentify.text.words import known_words, words_of


def judge(text: str, lists: Lists, place: str = "") -> Verdict:
    """What a line of an image is: a kind of identifier, or a line that stays (kind None).

    text   one line as OCR read it; letters may be misread (0 for O, 1 for l, rn for m)
    place  where it stands, as words: "top left", "border", "over anatomy", "" when unknown

    A kind of None with a certainty below `lists.SURE` means that nothing speaks for an identifier and nothing
    for a technical line either: it should be covered until a person has decided.
    """
    tokens = words_of(text)
    if not any(c.isalnum() for c in text):
        return Verdict(None, 1.0, "no letters")
    if (whole := normal(text)) in lists.white:
        return Verdict(None, 1.0, "white list")
    near = matcher(lists)
    if hit := near.misread(whole, tokens):
        return Verdict(hit.kind, hit.certainty, hit.rule)
    spans = find(text, lists, Context(ocr=True, place=place))
    if spans:
        best = max(spans, key=lambda span: span.certainty)
        return Verdict(best.kind, best.certainty, best.rule)
    unknown = [w for w in tokens if not known_words().stays(w)]
    if not unknown:
        return Verdict(None, 0.95, "known words")
    if all(len(w) <= 2 for w in unknown):
        return Verdict(None, 0.75, "short")
    # a line in the border or a corner is written there by the scanner's template, where names stand
    return Verdict(None, 0.3 if place else 0.4, "unknown words")
