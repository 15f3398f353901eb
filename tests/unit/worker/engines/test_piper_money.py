"""Prices are spoken as English says them."""

from __future__ import annotations

import pytest

from worker.engines.piper.money import spell_prices


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It costs $80.", "It costs 80 dollars."),
        ("Only $7.99!", "Only 7 dollars and 99 cents!"),
        ("Was $1, now $0.50.", "Was 1 dollar, now 50 cents."),
        ("£1.01 and £0.02", "1 pound and 1 penny and 2 pence"),
        ("€1,299.00 each", "1,299 euros each"),
        ("$0 down, $0.00 today", "0 dollars down, 0 dollars today"),
        ("from $12-$15", "from 12 dollars-15 dollars"),
        ("£2 million", "2 million pounds"),
        ("$2.5 billion", "2.5 billion dollars"),
        ("$2.5", "2.5 dollars"),
        ("a $50 voucher", "a 50 dollar voucher"),
        ("An €8 ticket", "An 8 euro ticket"),
        ("a $7.50 fee", "a 7 dollars and 50 cents fee"),
        ("US$5, $1.2.3, $1,23, $x", "US$5, $1.2.3, $1,23, $x"),
        ("no price at all", "no price at all"),
    ],
)
def test_prices(written: str, said: str) -> None:
    assert spell_prices(written) == said
