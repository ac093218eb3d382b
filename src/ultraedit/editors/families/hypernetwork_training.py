"""How a net learns from one turn: two stages, and no graph through the language model.

1. The turn's change is predicted without a graph. The model, as if the change were applied, is
   judged on the rephrased prompts and on unrelated ones; the gradient A at the change is seen
   through a few projections alone.
2. A is taken back to the net's outputs in closed form (`Hypernetwork.pull_back`), and from there
   through the net by autograd, a chunk of rows at a time.

MALMEN (Tan et al., 2024), section 3.3; for MEND's sum of outer products the same with another
closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from ultraedit.core.nets import Net
from ultraedit.core.stats import pack
from ultraedit.core.types import (
    Additive,
    Edit,
    GradientSink,
    Host,
    LossTerm,
    LossValue,
    LowRank,
    Turn,
    dense,
)
from ultraedit.editors.families.hypernetwork import Hypernetwork, Probe, Pulled
from ultraedit.editors.families.normalized import Normalized, Solved, scale, shape_name
from ultraedit.editors.families.residual_blocks import new_blocks, run_blocks


class Learner:
    """A net under training, with all that the next turn of training needs."""

    def __init__(self, editor: Hypernetwork, host: Host, seed: int) -> None:
        """Begin with a fresh net.

        Args:
            editor: The method. A net that it has already is trained further.
            host: The model, which is left as it is.
            seed: Decides the fresh net.
        """
        self.host = host
        self.recipe = editor.recipe()
        if editor.learned.net is None:
            self.parameters = fresh(editor, host, seed)
            state = Normalized.init(editor, host)
        else:
            known = editor.learned.net.tensors.items()
            self.parameters = {n: t.clone() for n, t in known if not n.startswith("state/")}
            state = {n.removeprefix("state/"): t for n, t in known if n.startswith("state/")}
        self.moments = editor.unpack(state)
        self.gradients: dict[str, Tensor] = {}
        self.adam = Adam()
        self.carried: dict[str, Tensor] = {}
        self.pending = 0
        device = next((host.weight(path).device for path in host.modules), "cpu")
        self.parameters = {name: tensor.to(device) for name, tensor in self.parameters.items()}
        # The editor reads the parameters through its net, as they are at each moment.
        self.editor = editor.with_net(Net(self.parameters, {}))

    def learn(self, turn: Turn, earlier: Sequence[Turn] = ()) -> list[LossValue]:
        """Add a turn's gradient to the sum so far, and step if it is time to.

        Args:
            turn: The edits.
            earlier: The turns before it in the epoch, newest last.

        Returns:
            How the model with the turn's change did, term by term; nothing for a turn that says
            nothing yet about the size of a step.
        """
        editor, recipe = self.editor, self.recipe
        with self.host.patched(Additive(self.carried)) if self.carried else nullcontext():
            solved = editor.solve(self.host, editor.trace(self.host, turn), self.moments)
            self.moments = solved.moments
            self.settle_steps(solved)
            steps = editor.steps(solved.units)
            if steps is None:
                return []
            patch = _patch(solved, steps)
            kept = [turn, *reversed(earlier)][: recipe.depth]
            pull = _Pull(solved, editor)
            values = self.host.patch_loss(patch, self._terms(kept), pull.sink)
        pull.add_norm(patch, recipe.reg)
        for path in solved.units:
            self._pull_back(path, solved, pull)
        if recipe.carry:
            _add_up(self.carried, patch)
        if recipe.clip_each_turn:
            clip(self.gradients, recipe.clip)
        self.pending += 1
        if self.pending == recipe.turns_per_step:
            self.step()
        return values

    def step(self) -> None:
        """Move the net along the gradients so far, if there are any, and forget these."""
        if not self.pending:
            return
        if not self.recipe.clip_each_turn:
            clip(self.gradients, self.recipe.clip)
        recipe = self.recipe
        self.adam.step(
            self.parameters,
            self.gradients,
            lambda name: recipe.scalar_lr if name.endswith("/lr") else recipe.meta_lr,
        )
        self.gradients, self.pending = {}, 0

    def steps_taken(self) -> int:
        """How often the optimizer has stepped."""
        return int(self.adam.state["steps"])

    def end_epoch(self) -> None:
        """Step on what is left, and go back to the unedited model."""
        self.step()
        self.carried = {}

    def losses(self, turns: Sequence[Turn]) -> list[LossValue]:
        """How the model does after some turns, made one after the other as in a run.

        A fresh net whose step is still open gets it from the first turn, as an untrained editor
        would. A net that is good for one turn may ruin the model within ten.

        Returns:
            On the edits of all turns, their rephrases, and the unrelated questions.
        """
        editor, moments = self.editor, self.moments
        steps: Mapping[str, Tensor] | None = None
        total: dict[str, Tensor] = {}
        for turn in turns:
            with self.host.patched(Additive(total)) if total else nullcontext():
                signals, observe = editor.trace(self.host, turn), editor.observes({})
                solved = editor.solve(self.host, signals, moments, observe=observe)
                moments = solved.moments
                steps = editor.steps(solved.units) or steps
                steps = steps or editor.measured(self.host, solved, solved.units)
            _add_up(total, _patch(solved, steps))
        edits = [edit for turn in turns for edit in turn.edits]
        whole = Turn(0, tuple(edits))
        own = LossTerm(tuple((edit.prompt, edit.target) for edit in edits), 1.0, "answer")
        return self.host.patch_loss(Additive(total), [own, *self._terms([whole])])

    def settle_steps(self, solved: Solved) -> None:
        """Give each module its first step, where ``lr=auto`` leaves that to a turn."""
        if self.editor.steps(solved.units) is None:
            first_steps = self.editor.measured(self.host, solved, solved.units)
            if first_steps.keys() == solved.units.keys():
                self.parameters.update({f"modules/{p}/lr": step for p, step in first_steps.items()})

    def net(self, about: Mapping[str, object]) -> Net:
        """The net as it is now, a copy."""
        state = {f"state/{name}": tensor for name, tensor in pack(self.moments).items()}
        tensors = self.parameters | state
        return Net({name: tensor.detach().clone() for name, tensor in tensors.items()}, about)

    def state(self) -> dict[str, Tensor]:
        """All of it, as named tensors."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "parameters": self.parameters,
            "moments": pack(self.moments),
            "gradients": self.gradients,
            "adam": self.adam.state,
            "carried": self.carried,
            "pending": {"turns": torch.tensor(self.pending)},
        }
        return {f"{part}/{n}": t for part, tensors in parts.items() for n, t in tensors.items()}

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""

        def part(name: str) -> dict[str, Tensor]:
            prefix = f"{name}/"
            return {
                n.removeprefix(prefix): t.clone() for n, t in state.items() if n.startswith(prefix)
            }

        self.parameters.clear()
        self.parameters.update(part("parameters"))
        self.moments = self.editor.unpack(part("moments"))
        self.gradients = part("gradients")
        self.adam.state = part("adam")
        self.carried = part("carried")
        self.pending = int(part("pending")["turns"])

    def _terms(self, turns: Sequence[Turn]) -> list[LossTerm]:
        """What a change is judged by: the newest turn first, and what came before it for less."""
        terms = []
        for age, turn in enumerate(turns):
            weight = self.recipe.decay**age
            terms += [
                self._term("answer", rephrased(turn.edits), weight * self.recipe.answer),
                self._term("drift", unrelated(turn.edits), weight * self.recipe.drift),
            ]
        return terms

    def _term(self, kind: str, pairs: tuple[tuple[str, str], ...], weight: float) -> LossTerm:
        editor = self.editor
        assert editor.loss_average is not None
        return LossTerm(
            pairs,
            weight,
            "answer" if kind == "answer" else "drift",
            editor.loss_average,
            editor.micro_batch,
            self.recipe.drift_backward if kind == "drift" else "edited",
        )

    def _pull_back(self, path: str, solved: Solved, pull: _Pull) -> None:
        """Add a module's part to the gradients of the net."""
        editor, signal = self.editor, solved.signals[path]
        steps = editor.steps(solved.units)
        assert steps is not None
        at = editor.pull_back(
            path,
            signal.keys,
            pull.pseudo[path],
            pull.pulled(path),
            float(steps[path]),
            editor.ridge_of(path),
        )
        self._add(f"modules/{path}/lr", at.lr)
        if at.log_ridge is not None:
            self._add(f"modules/{path}/log_ridge", at.log_ridge)
        shape = shape_name(self.host, path)
        prefixes = (f"blocks/{shape}/", f"modules/{path}/")
        leaves = {
            name: tensor.detach().requires_grad_()
            for name, tensor in self.parameters.items()
            if name.startswith(prefixes) and not name.endswith(("/lr", "/log_ridge"))
        }
        rows, chunk = solved.normalized[path], editor.chunk
        for start in range(0, len(rows), chunk):
            with torch.enable_grad():
                pseudo = run_blocks(
                    leaves, path, shape, rows[start : start + chunk], clamp_last=editor.clamp_last
                )
            pseudo.backward(at.pseudo[start : start + chunk].to(pseudo.dtype))
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                self._add(name, leaf.grad)

    def _add(self, name: str, gradient: Tensor) -> None:
        parameter = self.parameters[name]
        gradient = gradient.to(parameter.device, parameter.dtype)
        if name in self.gradients:
            self.gradients[name] += gradient
        else:
            self.gradients[name] = gradient.clone()


class _Pull:
    """The projections of the gradients at a turn's changes, summed batch after batch."""

    def __init__(self, solved: Solved, editor: Hypernetwork) -> None:
        self.pseudo = {
            path: editor.pseudo(path, signal.keys, solved.normalized[path]).detach()
            for path, signal in solved.signals.items()
        }
        self._probes: dict[str, Probe] = {
            path: editor.probe(signal.keys, self.pseudo[path])
            for path, signal in solved.signals.items()
        }
        self._left: dict[str, Tensor] = {}
        self._right: dict[str, Tensor] = {}

    @property
    def sink(self) -> GradientSink:
        return self._take

    @torch.no_grad()
    def _take(self, path: str, keys: Tensor, grads: Tensor) -> None:
        """Fold in ``keys.T @ grads``, which is never formed."""
        probe = self._probes[path]
        self._add(self._left, path, (probe.left.to(keys.dtype) @ keys.T) @ grads)
        if probe.right is not None:
            self._add(self._right, path, (probe.right.to(grads.dtype) @ grads.T) @ keys)

    @torch.no_grad()
    def add_norm(self, patch: Additive, weight: float) -> None:
        """Fold in the gradient of ``weight * ||Delta||^2``, which is ``2 weight Delta``."""
        if not weight:
            return
        for path, change in patch.changes.items():
            left, right = change if isinstance(change, LowRank) else (change, None)
            probe = self._probes[path]
            seen = probe.left @ left
            self._add(self._left, path, 2 * weight * (seen if right is None else seen @ right))
            if probe.right is not None:
                seen = probe.right @ (left.T if right is None else right.T)
                turned = seen if right is None else seen @ left.T
                self._add(self._right, path, 2 * weight * turned)

    def pulled(self, path: str) -> Pulled:
        probe = self._probes[path]
        d_in = probe.left.shape[1]
        d_out = self.pseudo[path].shape[1] - d_in
        left = self._left.get(path)
        if left is None:  # Nothing judges the change: no rephrase, no unrelated question.
            left = probe.left.new_zeros(len(probe.left), d_out)
        if probe.right is None:
            return Pulled(left)
        right = self._right.get(path)
        return Pulled(left, probe.right.new_zeros(probe.left.shape) if right is None else right)

    @staticmethod
    def _add(sums: dict[str, Tensor], path: str, part: Tensor) -> None:
        sums[path] = part if path not in sums else sums[path] + part


def _patch(solved: Solved, steps: Mapping[str, Tensor]) -> Additive:
    return Additive({path: scale(solved.units[path], float(s)) for path, s in steps.items()})


def _add_up(total: dict[str, Tensor], patch: Additive) -> None:
    """Let a change stay for the turns to come."""
    for path, change in patch.changes.items():
        whole = dense(change)
        total[path] = total[path] + whole if path in total else whole


def fresh(editor: Hypernetwork, host: Host, seed: int) -> dict[str, Tensor]:
    """Parameters of a net that changes nothing yet; scalars in float64, as options are."""
    parameters = new_blocks(host.modules, rank=editor.rank, blocks=editor.blocks, seed=seed)
    for path in host.modules:
        if editor.lr != "auto":
            parameters[f"modules/{path}/lr"] = torch.tensor(editor.lr, dtype=torch.float64)
        if hasattr(editor, "ridge"):
            log_ridge = torch.tensor(editor.ridge_of(path), dtype=torch.float64).log()
            parameters[f"modules/{path}/log_ridge"] = log_ridge
    return parameters


def rephrased(edits: Sequence[Edit]) -> tuple[tuple[str, str], ...]:
    """Each edit asked in its first other way, or in its own where it has no other."""
    return tuple(((edit.rephrases or (edit.prompt,))[0], edit.target) for edit in edits)


def unrelated(edits: Sequence[Edit]) -> tuple[tuple[str, str], ...]:
    """The first unrelated question of each edit that has an answer to it."""
    questions = []
    for edit in edits:
        known = [(prompt, target) for prompt, target in edit.locality if target is not None]
        questions += known[:1]
    return tuple(questions)


BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8


class Adam:
    """Kingma and Ba (2015), Algorithm 1. What it remembers is `state`."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {"steps": torch.zeros((), dtype=torch.int64)}

    @torch.no_grad()
    def step(
        self,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        lr: Callable[[str], float],
    ) -> None:
        """Move the parameters, in place.

        Args:
            parameters: What is trained.
            gradients: Of those that have one.
            lr: Step of a parameter, by its name.
        """
        self.state["steps"] = self.state["steps"] + 1
        steps = int(self.state["steps"])
        for name, gradient in gradients.items():
            first = self.state.setdefault(f"first/{name}", torch.zeros_like(gradient))
            second = self.state.setdefault(f"second/{name}", torch.zeros_like(gradient))
            first.lerp_(gradient, 1 - BETA_1)
            second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
            deviation = (second / (1 - BETA_2**steps)).sqrt_().add_(EPS)
            parameters[name].addcdiv_(first, deviation, value=-lr(name) / (1 - BETA_1**steps))


@torch.no_grad()
def clip(gradients: Mapping[str, Tensor], norm: float) -> float:
    """Shrink gradients, in place, so that they are together no longer than `norm`.

    Returns:
        Their length before.
    """
    squares = [
        torch.linalg.vector_norm(g, dtype=torch.float64).square() for g in gradients.values()
    ]
    length = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    if length > norm:
        for gradient in gradients.values():
            gradient.mul_(norm / length)
    return length
