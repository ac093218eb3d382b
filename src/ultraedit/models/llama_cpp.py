"""llama.cpp as an engine: a GGUF file asked the questions of an evaluation, as it will be shipped.

The package ``xllamacpp`` runs llama.cpp's server inside this process; the questions go to it over
its HTTP interface on this machine. Teacher forcing asks for one token behind each beginning of an
answer, as token ids; free generation gets texts, which llama.cpp's own tokenizer reads.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ultraedit.core.encoding import Encoded, encode
from ultraedit.core.errors import ConfigError, DataError, ProcessError, did_you_mean
from ultraedit.core.types import Observer
from ultraedit.core.writing_systems import answer_lines
from ultraedit.models.aliases import ALIASES
from ultraedit.models.gguf_file import GgufFile, refuse_adapter
from ultraedit.models.transformers_output import quiet
from ultraedit.models.transformers_reader import readable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENGINES = ("transformers", "llama.cpp")
"""What can run a model that is asked."""

CONTEXT = 4096
"""Longest text that is read, in tokens, where the model would take more."""

_TIMEOUT = 600.0
"""Seconds after which a question counts as lost."""

_GREEDY = {"temperature": 0.0, "top_k": 1, "cache_prompt": True}


def require_engine() -> None:
    """Check that the package of the engine is installed.

    Raises:
        ConfigError: If it is not.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError(
            "The engine llama.cpp needs the package xllamacpp, which is not installed. Run "
            "`pip install 'ultraedit[gguf]'`."
        )


def check_engine(name: str | None, **others: object) -> bool:
    """Whether a model is to be run by llama.cpp.

    Args:
        name: The engine that the user names, of `ENGINES`; None for transformers.
        **others: Options that llama.cpp does not take, by their names; None where not given.

    Raises:
        ConfigError: If there is no such engine, it is not installed, or it does not take an option.
    """
    if name is None or name == ENGINES[0]:
        return False
    if name not in ENGINES:
        raise ConfigError(f"There is no engine {name!r}. {did_you_mean(name, ENGINES)}")
    for option, value in others.items():
        if value is not None:
            raise ConfigError(
                f"--{option} is for --engine transformers: llama.cpp takes a file as it is, on the "
                "CPU. Leave it out."
            )
    require_engine()
    return True


def gguf_path(name: str) -> Path:
    """The GGUF file that a name stands for.

    Raises:
        ConfigError: If it stands for something else, which llama.cpp cannot run.
    """
    path = Path(name).expanduser()
    if not path.is_file() and name in ALIASES:
        held = ALIASES[name].gguf()
        if held is not None:
            return held
    if path.is_file() and path.suffix.lower() == ".gguf":
        refuse_adapter(path)
        return path
    raise ConfigError(
        f"The engine llama.cpp runs .gguf files, and {name} is none. Make one of a run with "
        "`ultraedit export DIR --as gguf --out edited.gguf`, or leave --engine out."
    )


def gguf_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Read the tokenizer of a GGUF file, without its weights.

    Raises:
        ConfigError: If transformers cannot read it.
    """
    from transformers import AutoTokenizer

    with readable(str(path), "a GGUF file with a tokenizer"), quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True
        )
    return tokenizer


class LlamaCpp:
    """A GGUF file in llama.cpp that answers as `host.ModelHost` does in an evaluation."""

    def __init__(self, path: Path, *, lora: Path | None = None) -> None:
        """Load a file.

        Args:
            path: The model.
            lora: An adapter of llama.cpp to add, at scale 1.

        Raises:
            ConfigError: If the engine is not installed, or does not take the file.
            StorageError: If the file is cut off or damaged.
        """
        require_engine()
        xllamacpp: Any = importlib.import_module("xllamacpp")
        self.path = path
        file = GgufFile(path)
        self.context = min(CONTEXT, file.of_architecture("context_length") or CONTEXT)
        """Longest text that is read, in tokens."""
        self.has_template = bool(file.value("tokenizer.chat_template"))
        """Whether it can be asked in a chat template."""
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
        params.n_ctx = self.context
        params.n_parallel = 1
        params.verbosity = -1
        params.warmup = False
        if lora is not None:
            adapter = xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)
            params.lora_adapters = [adapter]
        try:
            self._server = xllamacpp.Server(params)
        except (RuntimeError, ValueError, OSError) as error:
            cause = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise ConfigError(
                f"llama.cpp cannot load {path}: {cause}. The file may be damaged, or of an "
                "architecture newer than the engine: run `pip install --upgrade xllamacpp`."
            ) from error
        self._address: str = self._server.listening_address

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the file, as transformers reads it."""
        return gguf_tokenizer(self.path)

    @property
    def context_length(self) -> int:
        """Longest text that is read, in tokens."""
        return self.context

    @property
    def language_model(self) -> LlamaCpp:
        """Itself: what has the tokenizer."""
        return self

    def encode(self, pairs: Sequence[tuple[str, str]], *, gap: str = " ") -> list[Encoded]:
        """Tokenize prompts and answers, as `ModelHost.encode`."""
        return encode(self.tokenizer, pairs, max_length=self.context, gap=gap)

    def predict(
        self, items: Sequence[Encoded], observer: Observer | None = None, *, keep: bool = True
    ) -> list[tuple[int, ...]]:
        """The model's top choice at every answer token, the tokens before it being given."""
        predicted = []
        for item in items:
            beginnings = [
                [*item.prompt_ids, *item.answer_ids[:at]] for at in range(len(item.answer_ids))
            ]
            rows = self._post(
                "/completion",
                {"prompt": beginnings, "n_predict": 1, "return_tokens": True, **_GREEDY},
            )
            # A single prompt in a list is answered without one.
            rows = rows if isinstance(rows, list) else [rows]
            rows.sort(key=lambda row: int(row["index"]))
            # At its end the model writes no token; no answer token is that one.
            predicted.append(tuple(row["tokens"][0] if row["tokens"] else -1 for row in rows))
            if observer is not None:
                observer.advance()
        return predicted

    def answer(
        self,
        prompts: Sequence[str],
        max_new_tokens: Sequence[int],
        observer: Observer | None = None,
        lines: Sequence[int] | None = None,
    ) -> list[str]:
        """Generate answers greedily, to the end of its lines or of its tokens.

        Raises:
            DataError: If a prompt is empty, or longer than the context.
        """
        answers = []
        if not all(prompt.strip() for prompt in prompts):
            raise DataError("The question is empty. Write it in quotes after the model.")
        counts = [1] * len(prompts) if lines is None else lines
        for prompt, limit, count in zip(prompts, max_new_tokens, counts, strict=True):
            said = self._post("/completion", {"prompt": prompt, "n_predict": limit, **_GREEDY})
            answers.append(answer_lines(said["content"], count))
            if observer is not None:
                observer.advance()
        return answers

    def chat(self, question: str, max_new_tokens: int) -> str:
        """Ask in the chat template of the file.

        Raises:
            ConfigError: If the file has no template: llama.cpp would put one of its own around it.
            DataError: If the model's template does not let it be asked so.
        """
        if not self.has_template:
            raise ConfigError(f"{self.path} has no chat template. Leave --chat out.")
        said = self._post(
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": question}],
                "max_tokens": max_new_tokens,
                **_GREEDY,
            },
        )
        return answer_lines(said["choices"][0]["message"]["content"] or "")

    def _post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{self._address}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        # A proxy of the user's surroundings has no way to this process.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace")
            raise DataError(f"llama.cpp refuses a question to {self.path}: {said}.") from error
        except (OSError, ValueError) as error:
            raise ProcessError(
                f"llama.cpp does not answer for {self.path}: {error}. Try again."
            ) from error
