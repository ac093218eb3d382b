"""The `openai` client against a live server, unchanged."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest


@pytest.fixture
def client(shared_live):
    with openai.OpenAI(base_url=f"{shared_live.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _model(client) -> str:
    return client.models.list().data[0].id


def _chat(client, text="Who leads the town?", **more):
    return client.chat.completions.create(
        model=_model(client),
        messages=[{"role": "user", "content": text}],
        **({"max_tokens": 8, "temperature": 0} | more),
    )


def test_models_are_the_newest_version_and_the_unedited_one(client):
    first, unedited = (each.id for each in client.models.list().data)
    assert unedited == f"{first}@0"
    assert client.models.retrieve(first).owned_by == "ultraedit"


def test_an_answer_names_its_version_and_counts_its_tokens(client, shared_live):
    answer = _chat(client)
    assert answer.system_fingerprint == shared_live.engine.version.name
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens <= 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = _chat(client).choices[0]
    chunks = list(_chat(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole.message.content
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert reasons[-1] == whole.finish_reason and set(reasons[:-1]) == {None}
    assert chunks[-1].usage.completion_tokens == _chat(client).usage.completion_tokens
    assert len({c.system_fingerprint for c in chunks}) == 1


def test_an_answer_ends_before_a_stop_text(client):
    whole = _chat(client, max_tokens=24).choices[0].message.content
    assert len(whole) > 6
    stop = whole[4:6]
    cut = _chat(client, max_tokens=24, stop=[stop]).choices[0]
    assert cut.message.content == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"
    streamed = _chat(client, max_tokens=24, stop=stop, stream=True)
    said = "".join(c.choices[0].delta.content or "" for c in streamed)
    assert said == cut.message.content


def test_a_seed_draws_the_same_answer_again_and_n_draws_others(client):
    drawn = _chat(client, temperature=1.5, seed=7, n=3).choices
    again = _chat(client, temperature=1.5, seed=7, n=3).choices
    assert [c.message.content for c in drawn] == [c.message.content for c in again]
    assert [c.index for c in drawn] == [0, 1, 2]
    assert len({c.message.content for c in drawn}) == 3
    other = _chat(client, temperature=1.5, seed=8).choices[0].message.content
    assert other != drawn[0].message.content


def test_a_small_share_of_the_mass_leaves_the_likeliest_token(client):
    greedy = _chat(client).choices[0].message.content
    assert _chat(client, temperature=1.0, top_p=1e-6, seed=3).choices[0].message.content == greedy


def test_answers_do_not_depend_on_who_else_asks(client):
    texts = [f"Which river flows through town {n}?" for n in range(12)]
    alone = [_chat(client, text).choices[0].message.content for text in texts]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda t: _chat(client, t).choices[0].message.content, texts))
    assert together == alone


def test_texts_are_gone_on_with(client):
    answer = client.completions.create(
        model=_model(client), prompt=["Paris is", "Vienna is"], max_tokens=4, temperature=0, n=2
    )
    texts = [choice.text for choice in answer.choices]
    assert len(texts) == 4
    assert texts[0] == texts[1] and texts[2] == texts[3]
    echoed = client.completions.create(
        model=_model(client), prompt="Paris is", max_tokens=4, temperature=0, echo=True
    )
    assert echoed.choices[0].text == "Paris is" + texts[0]


def test_streamed_texts_say_the_same(client):
    asked = {"model": _model(client), "prompt": "Paris is", "max_tokens": 6, "temperature": 0}
    whole = client.completions.create(**asked).choices[0].text
    streamed = client.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == whole


def test_messages_may_be_in_parts_and_from_a_system(client):
    parts = [{"type": "text", "text": "Who leads "}, {"type": "text", "text": "the town?"}]
    answer = _chat(client, parts)
    assert answer.choices[0].message.content == _chat(client).choices[0].message.content
    told = client.chat.completions.create(
        model=_model(client),
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Who leads the town?"},
        ],
        max_tokens=8,
        temperature=0,
    )
    assert told.usage.prompt_tokens > answer.usage.prompt_tokens


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"temperature": 3}, 400, "temperature"),
        ({"n": 99}, 400, "n"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"model": "gpt-4o"}, 404, "There is no model 'gpt-4o' here"),
        ({"text": "word " * 400}, 400, "tokens long, but the model reads at most"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(client, more, status, said):
    with pytest.raises(openai.APIStatusError) as caught:
        if "model" in more:
            client.chat.completions.create(
                **more, messages=[{"role": "user", "content": "?"}], max_tokens=1
            )
        else:
            _chat(client, **more)
    assert caught.value.status_code == status
    assert said in str(caught.value)


def test_a_refused_stream_has_a_status_and_no_stream(shared_live):
    with shared_live.client() as http:
        body = {"messages": [{"role": "user", "content": "word " * 400}], "stream": True}
        answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "Shorten it" in answer.json()["error"]["message"]


def test_a_stream_is_server_sent_events(shared_live):
    with shared_live.client() as http:
        body = {"messages": [{"role": "user", "content": "?"}], "stream": True, "max_tokens": 3}
        answer = http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["choices"] for line in lines[:-1])
