"""Simulated: no model, a cost curve and a clock. For benches and tests of the queue; never anyone's default.

gpus.py     cost curves and memory of named GPUs, from published figures
engine.py   the engine: takes as long as the curve says, and answers with a tone
family.py   which GPU the setting ``STENTOR_SIMULATED`` asks for
"""

from worker.engines.simulated.family import SimulatedFamily

__all__ = ["SimulatedFamily"]
