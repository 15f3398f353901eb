"""What an NVIDIA L4 draws, state by state, and how long a model takes to come onto it.

The watts of a GPU are a step function of its state: whether a process has a context on it, whether its clocks are
locked to the lowest, and whether a pass runs. "The Model Parking Tax" (arXiv 2605.23918) measured an H100, an A100 and
an L40S, of the L4's family: a context alone lifts a GPU from its bare idle to another performance state, and how much
memory the model takes does not matter (below 0.02 W/GB).

Of the L4 itself, ``nvidia-smi`` printed by others and kept in public repositories:

* P8, no process: 9, 13, 16, 16 and 17 W of 72 W. The middle one is taken for an unloaded device.
* P0, nothing running: 27, 28, 28 and 29 W, on four cards of one machine (README of ``aws-ollama-ami``, "status of
  nvidia-smi"), and 27 and 28 W elsewhere. A model that waits holds its GPU there.
* P8 beside processes that hold a little memory: 19 W, on two cards (a guide to Llama 2 on two L4s in Google's cloud).
* Decoding of Qwen3-8B by vLLM: a sustained 72 W of 72 W at 99 to 100% utilisation (a bench on an AWS ``g6.xlarge``,
  "GPU was power-limited").

Assumed, for nobody publishes it:

* Locked to the lowest clocks, with a model on it, the card draws what it does in P8 beside processes: 19 W.
* A pass draws 72 W whatever its size. A pass of one row likely draws less, and then merging saves less: the bench tells
  that, too, with ``LEAST_ALONE_W``.
* While a model loads the card draws what it does when the model waits. A load takes 20 s.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Power:
    """What one GPU draws in each state, in watts."""

    #: No process on it.
    unloaded_w: float
    #: A model on it that does not speak, at normal and at the lowest clocks.
    idle_w: float
    low_w: float
    #: A pass runs.
    busy_w: float


L4 = Power(unloaded_w=16.0, idle_w=28.0, low_w=19.0, busy_w=72.0)
#: What a pass of one row may draw instead: cards that decode at 13 to 37% utilisation drew 39 to 43 W (the same README
#: of ``aws-ollama-ami``, a model of 70 and one of 123 billion parameters over four cards).
LEAST_ALONE_W = 40.0
#: From nothing to a model that has spoken its warm-up, in seconds.
LOAD_S = 20.0
