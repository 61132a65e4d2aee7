"""The faults on which the tools are compared, and what torchtest2 must be told of each script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "practices"
GALLERY = Path(__file__).resolve().parent / "faults"

FEW_ROWS = "(x[:64], y[:64])"


@dataclass(frozen=True)
class Case:
    """A script with a fault: one batch ``(inputs, targets)`` and the loss, as expressions."""

    file: Path
    batch: str
    loss: str

    @property
    def name(self) -> str:
        """What is wrong, in the words of the file's name."""
        return self.file.stem.replace("_", " ")


def _fixture(name: str, batch: str, loss: str = "criterion") -> Case:
    return Case(FIXTURES / f"{name}.py", batch, loss)


def _gallery(name: str) -> Case:
    return Case(GALLERY / f"{name}.py", FEW_ROWS, "F.cross_entropy")


FAULTS = (
    _fixture("zero_grad", "next(iter(train_loader))"),
    _fixture("toggle_train_eval", "next(iter(train_loader))", "F.cross_entropy"),
    _fixture("logits_into_cross_entropy", "next(iter(loader))"),
    _fixture("loss_shapes_match", "next(iter(loader))", "lambda p, t: ((p - t) ** 2).mean()"),
    _fixture("optimise_every_parameter", "next(iter(train_loader))", "F.cross_entropy"),
    _fixture("reshape_is_not_permute", "next(iter(train))"),
    _fixture("batched_equals_single", "next(iter(train_loader))", "F.cross_entropy"),
    _fixture("shuffle_every_epoch", "next(iter(train_loader))"),
    _fixture("break_symmetry", "next(iter(train_loader))"),
    _fixture("scaled_init", "(x[train[:64]], y[train[:64]])"),
    _fixture("watch_dead_units", "(x[train[:64]], y[train[:64]])", "F.cross_entropy"),
    _fixture("standardise_input", "next(iter(loader))"),
    _fixture("no_output_activation", "next(iter(loader))", "loss_fn"),
    _fixture("keep_test_clean", "next(iter(train_loader))"),
    _gallery("unused_layer"),
    _gallery("head_after_optimizer"),
    _gallery("graph_cut"),
    _gallery("half_ignored"),
    _gallery("norm_shared"),
    _gallery("decay_in_adam"),
)

PROGRAMS = {
    "accumulation": ("next(iter(loader))", "criterion"),
    "char_gpt": ("batch(train)", "lambda p, t: F.cross_entropy(p.flatten(0, 1), t.flatten())"),
    "cnn": ("next(iter(train_loader))", "F.cross_entropy"),
    "functional": ("(None, None)", "None"),
    "loader_bound": ("next(iter(loader))", "F.cross_entropy"),
    "lstm": ("batch()", "lambda p, t: F.cross_entropy(p.flatten(0, 1), t.flatten())"),
    "tiny_mlp": ("(x[:64], y[:64])", "criterion"),
    "unet": ("(next(iter(loader))[0],) * 2", "F.mse_loss"),
}
"""Of each program of the overhead table: a batch and the loss."""
