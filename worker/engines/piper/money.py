"""Prices as English says them. espeak reads "$80" as "dollar eighty", which a customer hears as $1.80."""

from __future__ import annotations

import re

#: Sign -> one of it, several, a hundredth of it, several hundredths.
_UNITS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
_PRICE = re.compile(
    r"(?P<article>\b[Aa]n?\s)?"
    r"(?<![A-Za-z])(?P<sign>[$£€])\s?(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<decimals>\d+))?(?![\d.,]*\d)"
    r"(?:\s?(?P<scale>thousand|million|billion|trillion)\b)?"
)


def spell_prices(text: str) -> str:
    """The text with "$7.99" as "7 dollars and 99 cents", "£2 million" as "2 million pounds", "a €5 note" as "a 5 euro
    note". Prices that are written in another way are left as they are.
    """
    return _PRICE.sub(_words_of, text)


def _words_of(price: re.Match[str]) -> str:
    one, several, hundredth, hundredths = _UNITS[price["sign"]]
    article, whole, decimals, scale = price["article"] or "", price["whole"], price["decimals"], price["scale"]
    if scale or (decimals and len(decimals) != 2):
        amount = whole + (f".{decimals}" if decimals else "") + (f" {scale}" if scale else "")
        return f"{article}{amount} {one if article else several}"
    if article and not decimals:
        return f"{article}{whole} {one}"
    parts = []
    if int(whole.replace(",", "")) or not int(decimals or "0"):
        parts.append(f"{whole} {one if whole == '1' else several}")
    if decimals and int(decimals):
        parts.append(f"{int(decimals)} {hundredth if int(decimals) == 1 else hundredths}")
    return article + " and ".join(parts)
