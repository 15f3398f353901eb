"""Cost curves and memory of named GPUs, fitted to figures that others published.

A pass over ``rows`` rows, padded to ``longest`` units, takes, in seconds::

    fixed_s + longest x step_s + longest x rows x unit_s

``step_s`` is what autoregressive models add: they decode one frame of all rows after the other, and a step costs nearly
the same for one row as for sixteen. A model that makes all frames at once has none.

Sources:

* ``a100``, ``v100``, ``t4``: FastPitch and HiFi-GAN, FP16, TorchScript with denoising, from NVIDIA's
  DeepLearningExamples on GitHub, ``PyTorch/SpeechSynthesis/HiFiGAN/README.md``, "Inference performance results": 128
  characters, 8.05 s of audio at 22050 Hz, throughput in samples per second at batch sizes 1 and 8. A pass of ``b`` rows
  thus took ``b x 8.05 x 22050 / throughput``. The unit is a mel frame of 256 samples: 86.13 a second, 693.4 in 8.05 s.
* ``l4``: Qwen3-TTS-12Hz-0.6B in batches, from ``alfonsodg/concurrent-faster-qwen3-server`` on GitHub, ``README.md``,
  "Performance (NVIDIA L4, 23GB)": batch 1 has 2.12 x real time, 2.4 s a request and 2.7 GB; batch 4 has 6.99 x, 8 has
  11.49 x, 16 has 16.59 x and 5 GB. The unit is a frame of its codec, 12.5 in a second.

A straight line through the smallest and the largest batch of each table gives the rest:

* ``a100``: 8,906,958 and 16,597,793 samples/s are passes of 19.93 and 85.56 ms. A row adds (85.56 - 19.93) / 7 = 9.376
  ms, a frame 9.376 / 693.4 = 0.01352 ms; fixed are 19.93 - 9.376 = 10.55 ms. (Batch 4: 48.06 ms; published are 46.56.)
* ``v100``: 5,062,222 and 9,501,139: 35.06 and 149.46 ms; a row 16.34 ms, a frame 0.02357 ms; fixed 18.72 ms.
* ``t4``: 2,835,064 and 3,304,070: 62.61 and 429.78 ms; a row 52.45 ms, a frame 0.07564 ms; fixed 10.16 ms.
* ``l4``: a request is 2.4 s x 2.12 = 5.09 s of audio, 63.6 frames. A pass of 16 took 16 x 5.09 / 16.59 = 4.909 s, so a
  row adds (4.909 - 2.4) / 15 = 0.1673 s, a frame of it 2.63 ms. The steps take 2.4 - 0.1673 = 2.233 s, each 35.1 ms.
  That nothing is fixed and all grows with the length is an assumption, for the table has one length. (Batch 4: 2.90 s,
  and 8: 3.57 s; published are 2.91 and 3.54.)

Memory: ``l4`` takes (5 - 2.7) / 15 = 0.1533 GB a row, 2.41 MB a frame; fixed are 2.7 - 0.1533 = 2.547 GB. For HiFi-GAN
nothing is published. Its widest layers hold 32 channels x 256 values of 2 bytes a frame, and some seven of them live at
a time: 115 kB. 1 GiB for weights and workspaces is a guess.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """What a pass costs on one GPU, with one model. A unit is one frame of audio."""

    name: str
    units_per_s: float
    fixed_s: float
    #: Seconds per unit of the longest row, whatever the number of rows.
    step_s: float
    #: Seconds per padded unit.
    unit_s: float
    memory_bytes: int
    fixed_bytes: int
    unit_bytes: int
    #: The largest padded cost of one batch to start from.
    budget: int
    #: The longest segment, in characters.
    segment_chars: int = 300

    def batch_s(self, longest: int, rows: int) -> float:
        """How long a pass over ``rows`` rows padded to ``longest`` units takes, in seconds."""
        return self.fixed_s + longest * self.step_s + longest * rows * self.unit_s

    def batch_bytes(self, longest: int, rows: int) -> int:
        """The memory that such a pass takes, the model's own included, in bytes."""
        return self.fixed_bytes + longest * rows * self.unit_bytes


#: Seconds of padded audio in a batch of FastPitch and HiFi-GAN: what ``CUDA_BUDGET_S`` of the piper engine is.
_PARALLEL_BUDGET_S = 240
_MEL_FRAMES_PER_S = 22050 / 256
_PARALLEL_BUDGET = round(_PARALLEL_BUDGET_S * _MEL_FRAMES_PER_S)
_HIFIGAN_FIXED_BYTES = 2**30
_HIFIGAN_UNIT_BYTES = 32 * 256 * 2 * 7

_GPUS = (
    Gpu(
        name="a100",
        units_per_s=_MEL_FRAMES_PER_S,
        fixed_s=0.01055,
        step_s=0.0,
        unit_s=0.00001352,
        memory_bytes=80 * 10**9,
        fixed_bytes=_HIFIGAN_FIXED_BYTES,
        unit_bytes=_HIFIGAN_UNIT_BYTES,
        budget=_PARALLEL_BUDGET,
    ),
    Gpu(
        name="v100",
        units_per_s=_MEL_FRAMES_PER_S,
        fixed_s=0.01872,
        step_s=0.0,
        unit_s=0.00002357,
        memory_bytes=16 * 10**9,
        fixed_bytes=_HIFIGAN_FIXED_BYTES,
        unit_bytes=_HIFIGAN_UNIT_BYTES,
        budget=_PARALLEL_BUDGET,
    ),
    Gpu(
        name="t4",
        units_per_s=_MEL_FRAMES_PER_S,
        fixed_s=0.01016,
        step_s=0.0,
        unit_s=0.00007564,
        memory_bytes=16 * 10**9,
        fixed_bytes=_HIFIGAN_FIXED_BYTES,
        unit_bytes=_HIFIGAN_UNIT_BYTES,
        budget=_PARALLEL_BUDGET,
    ),
    Gpu(
        name="l4",
        units_per_s=12.5,
        fixed_s=0.0,
        step_s=0.0351,
        unit_s=0.00263,
        memory_bytes=23 * 10**9,
        fixed_bytes=2_547_000_000,
        unit_bytes=2_410_000,
        # 160 s of audio: 31 rows of the published length, twice the largest batch that was published, where a straight
        # line is still a fair guess. It takes 7.4 GB of 23.
        budget=2000,
        # The longest row decides how many steps all others take, so an autoregressive model's segments should be short.
        segment_chars=150,
    ),
)
#: All GPUs that can be simulated, by name.
GPUS = {gpu.name: gpu for gpu in _GPUS}
