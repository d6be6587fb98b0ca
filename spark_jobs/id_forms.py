"""SQL of the one form of a text id (`lake.id_forms`), for events and catalogues alike."""

from typing import Final

from lake.id_forms import IdForm
from spark_jobs.casts import BLANKS

# Spark has no function for it, but ICU's library, and calls a function of Java that takes a text. Composing
# changes nothing in ASCII, which most ids are; reflection takes a microsecond for each of the others.
_COMPOSED: Final = (
    "CASE WHEN octet_length({x}) > length({x}) "
    "THEN reflect('com.ibm.icu.text.Normalizer', 'compose', {x}, false) ELSE {x} END"
)


def in_form(text: str, form: IdForm) -> str:
    """SQL of a trimmed text id in its form.

    Letters change their case before they are composed: some of upper case are two until then.
    """
    if form.case != "keep":
        text = f"{form.case}({text})"
    if form.unicode == "nfc":
        text = _COMPOSED.format(x=text)
    if form.blanks == "collapse":
        text = f"regexp_replace({text}, '[{BLANKS}]+', ' ')"
    if form.floats == "whole":
        text = f"regexp_replace({text}, '^([+-]?[0-9]+)[.]0+$', '$1')"
    if form.zeros == "strip":
        text = f"regexp_replace({text}, '^0+([0-9]+)$', '$1')"
    return text
