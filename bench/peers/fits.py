"""One library trains a model on one data set in a given time, and predicts the test inputs.

``bench/fit.py`` runs this file once for each model, with an interpreter that has the library. What
is imported is imported before the clock starts.

usage: python fits.py PEER CASE.npz OUT.npz --seconds S --seed K --folder DIR
"""

from __future__ import annotations

import argparse
import copy
import importlib
import itertools
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Matrix = tuple[Array, Array]
Predict = Callable[[], Array]
"""Probabilities (…, classes) or numbers (n,) for the test inputs."""

VALIDATION = 0.1
"""The share of the training samples by which the peers choose."""
PATIENCE = 10
"""Epochs without a better validation after which a training ends."""
EPOCHS = 60
"""Epochs of a one-cycle training at most."""
CONTEXT = 8
"""Characters that a model of tables sees of a text."""
LEARNT, CHOSEN = 200_000, 20_000
"""Characters of a text that such a model learns from and is chosen by, at most."""


@dataclass(frozen=True)
class Clock:
    """The time that a peer has; it runs from its making."""

    seconds: float
    began: float

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.perf_counter() - self.began)


@dataclass(frozen=True)
class Case:
    """What a peer is given: training samples, test inputs, and what they are.

    ``kind`` is image, photo (may be mirrored), speech, table or text. ``x`` is (n, *shape), ``y``
    (n,) or in a text (n, length); ``classes`` is 0 in a regression. ``raw`` are the columns of a
    table before they were coded, of which ``categorical`` are codes. ``rows`` are the training
    and the test samples in the data set.
    """

    name: str
    kind: str
    classes: int
    x: Array
    y: Array
    x_test: Array
    raw: Array
    raw_test: Array
    categorical: Array
    groups: Array
    rows: Array
    rows_test: Array
    seed: int
    folder: Path

    @classmethod
    def read(cls, file: Path, seed: int, folder: Path) -> Case:
        """The case of a file."""
        with np.load(file) as kept:
            found = {name: kept[name] for name in kept.files}
        words = {name: found.pop(name).item() for name in ("name", "kind", "classes")}
        return cls(**words, **found, seed=seed, folder=folder)

    @cached_property
    def parts(self) -> tuple[Array, Array]:
        """Samples to learn from and samples to choose by: a whole group, where there are groups."""
        random = np.random.default_rng(self.seed)
        if len(self.groups):
            held = self.groups == random.choice(np.unique(self.groups))
            return np.flatnonzero(~held), np.flatnonzero(held)
        order = random.permutation(len(self.x))
        cut = round(len(order) * VALIDATION)
        return order[cut:], order[:cut]


# -- nomagic ---------------------------------------------------------------------------------------


def nomagic(case: Case, clock: Clock) -> Predict:
    """``nomagic fit NAME --budget TIME`` on the training samples, nothing else chosen."""
    from dataclasses import replace

    import torch

    import nomagic as nm
    from nomagic import setups

    whole = nm.data(case.name)
    split = {"split": "group"} if len(case.groups) else {}
    setup = replace(setups.resolve(case.name), data=whole.subset(torch.tensor(case.rows)), **split)
    model = nm.fit(setup, budget=clock.left, out=case.folder / "fit", test=0.0, seed=case.seed)
    return lambda: model.predict(whole.subset(torch.tensor(case.rows_test))).mean


# -- scikit-learn: a random search by validation, then the best again on all training samples ------


@dataclass
class Grown:
    """A model at the length at which it was best."""

    value: float = -math.inf
    model: Any = None
    length: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Search:
    """How a model of scikit-learn is made from drawn settings, and grown by a step."""

    make: Callable[[np.random.Generator | None], Any]
    grow: Callable[[Any, Array, Array], Any]

    def run(self, case: Case, clock: Clock, parts: tuple[Matrix, Matrix]) -> Any:
        """Settings at random, the usual ones first, as long as there is time."""
        random, best = np.random.default_rng(case.seed), Grown()
        for turn in itertools.count():
            found = self.climb(self.make(random if turn else None), case, clock, *parts)
            best = max(best, found, key=lambda one: one.value)
            if clock.left < 1.3 * best.seconds or clock.left <= 0:
                break
        if clock.left < best.seconds:
            return best.model
        every = tuple(np.concatenate(both) for both in zip(*parts, strict=True))
        model = self.fresh(best.model)
        for _ in range(best.length):
            self.grow(model, *every)
        return model

    def climb(self, model: Any, case: Case, clock: Clock, train: Matrix, valid: Matrix) -> Grown:
        """Grow a model until it is no longer better on the validation samples."""
        best, began = Grown(), time.perf_counter()
        for length in itertools.count(1):
            self.grow(model, *train)
            value = worth(case, model, *valid)
            if value > best.value:
                spent = time.perf_counter() - began
                best = Grown(value, copy.deepcopy(model), length, spent)
            if length - best.length >= PATIENCE or clock.left <= 0:
                return best
        raise AssertionError("count is endless")

    @staticmethod
    def fresh(model: Any) -> Any:
        """The same settings, untrained."""
        from sklearn.base import clone

        return clone(model)


def worth(case: Case, model: Any, x: Array, y: Array) -> float:
    """R2, or the log-likelihood of a classification, which is less coarse than accuracy."""
    found = said(case, model, x)
    if not case.classes:
        return 1 - float(np.square(y - found).mean() / y.var())
    return float(np.log(found[np.arange(len(y)), y].clip(1e-9)).mean())


def mlp(case: Case, clock: Clock) -> Predict:
    """`MLPClassifier` or `MLPRegressor` on standardised columns, with early stopping."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train, valid, test = coded(case) if case.kind != "text" else columns(case)
    codes = OneHotEncoder(sparse_output=False, dtype=np.float32, handle_unknown="ignore")
    scaler = (codes if case.kind == "text" else StandardScaler()).fit(train[0])
    centre, scale = (0, 1) if case.classes else (train[1].mean(), train[1].std())

    def scaled(y: Array) -> Array:
        return y if case.classes else (y - centre) / scale

    def make(random: np.random.Generator | None) -> Any:
        kind = MLPClassifier if case.classes else MLPRegressor
        if random is None:
            return kind(random_state=case.seed)
        return kind(
            hidden_layer_sizes=HIDDEN[random.integers(len(HIDDEN))],
            alpha=10 ** random.uniform(-6, -1),
            learning_rate_init=10 ** random.uniform(-3.5, -2),
            batch_size=int(random.choice([32, 64, 128, 256])),
            random_state=case.seed,
        )

    def grow(model: Any, x: Array, y: Array) -> None:
        model.partial_fit(x, y, **({"classes": np.arange(case.classes)} if case.classes else {}))

    first, second = ((scaler.transform(x), scaled(y)) for x, y in (train, valid))
    model = Search(make, grow).run(case, clock, (first, second))
    return lambda: said(case, model, scaler.transform(test)) * scale + centre


HIDDEN = ((64,), (128,), (256,), (64, 64), (128, 128), (256, 256))


def trees(case: Case, clock: Clock) -> Predict:
    """`HistGradientBoosting…` on the columns as they came, ten rounds at a time."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    train, valid, test = columns(case)
    text = case.kind == "text"
    fixed = {
        "categorical_features": np.ones(CONTEXT, bool) if text else _marks(case, train[0]),
        "early_stopping": False,
        "warm_start": True,
        "random_state": case.seed,
    }
    step = 10 if case.classes <= 10 else 1

    def make(random: np.random.Generator | None) -> Any:
        kind = HistGradientBoostingClassifier if case.classes else HistGradientBoostingRegressor
        if random is None:
            return kind(max_iter=1, **fixed)
        return kind(
            max_iter=1,
            learning_rate=10 ** random.uniform(-1.7, -0.5),
            max_leaf_nodes=int(random.choice([15, 31, 63])),
            min_samples_leaf=int(random.choice([5, 20, 50])),
            l2_regularization=float(random.choice([0, 1, 10])),
            **fixed,
        )

    def grow(model: Any, x: Array, y: Array) -> None:
        done = model.n_iter_ if hasattr(model, "n_iter_") else 0
        model.set_params(max_iter=done + step).fit(x, y)

    model = Search(make, grow).run(case, clock, (train, valid))
    return lambda: said(case, model, test)


def _marks(case: Case, x: Array) -> Any:
    return case.categorical if len(case.categorical) == x.shape[1] else None


def said(case: Case, model: Any, x: Array) -> Array:
    """What a model of scikit-learn predicts; a class that it has not seen has no chance."""
    if not case.classes:
        return model.predict(x)
    every = np.zeros((len(x), case.classes))
    every[:, model.classes_] = model.predict_proba(x)
    return every


# -- inputs of models of tables ------------------------------------------------------------------


def coded(case: Case) -> tuple[Matrix, Matrix, Array]:
    """Matrices of numbers, to learn from and to choose by, with targets; the test inputs."""
    x, test = (
        (spectrogram(one) if case.kind == "speech" else one) for one in (case.x, case.x_test)
    )
    return _matrices(case, x, test)


def columns(case: Case) -> tuple[Matrix, Matrix, Array]:
    """The same, with categories as codes; of a text, the last characters of each position."""
    if case.kind == "text":
        return _characters(case)
    return _matrices(case, case.raw, case.raw_test) if len(case.raw) else coded(case)


def _matrices(case: Case, x: Array, test: Array) -> tuple[Matrix, Matrix, Array]:
    x, test = (one.reshape(len(one), -1).astype(np.float32) for one in (x, test))
    train, valid = ((x[rows], case.y[rows]) for rows in case.parts)
    return train, valid, test


def _characters(case: Case) -> tuple[Matrix, Matrix, Array]:
    random = np.random.default_rng(case.seed)

    def windows(x: Array) -> Array:
        padded = np.pad(x, ((0, 0), (CONTEXT - 1, 0)), constant_values=case.classes)
        return np.lib.stride_tricks.sliding_window_view(padded, CONTEXT, -1).reshape(-1, CONTEXT)

    def some(rows: Array, most: int) -> Matrix:
        x, y = windows(case.x[rows]), case.y[rows].reshape(-1)
        drawn = random.permutation(len(x))[:most]
        return x[drawn], y[drawn]

    learnt, chosen = case.parts
    return some(learnt, LEARNT), some(chosen, CHOSEN), windows(case.x_test)


def spectrogram(x: Array, size: int = 256, bands: int = 32) -> Array:
    """Log energies (n, frames, bands) of waveforms (n, 1, samples) at 8 kHz, in mel bands."""
    frames = np.lib.stride_tricks.sliding_window_view(x[:, 0], size, axis=-1)[:, :: size // 2]
    energy = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    mels = np.linspace(0, 2595 * np.log10(1 + 4000 / 700), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1) / 4000 * (size // 2)
    bins = np.arange(size // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = np.clip(np.minimum(rising, falling), 0, None)
    return np.log(energy @ bank + 1e-4).astype(np.float32)


# -- a network of one's own, as trained with skorch, Lightning and fastai --------------------------


@dataclass(frozen=True)
class Tensors:
    """What a network is trained on: inputs and targets of each part, and the test inputs.

    Numbers to be predicted are standardised; ``centre`` and ``scale`` undo it.
    """

    x: Any
    y: Any
    x_valid: Any
    y_valid: Any
    x_test: Any
    centre: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, case: Case) -> Tensors:
        """Inputs standardised: tables by column, images by channel, spectrograms as one."""
        import torch

        learnt, chosen = case.parts
        x, test, y = case.x, case.x_test, case.y
        if case.kind == "speech":
            x, test = (spectrogram(one)[:, None] for one in (x, test))
        if case.kind != "text":
            axes = (0,) if case.kind == "table" else (0, 2, 3)
            some = x[learnt[:10_000]].astype(np.float32)
            mean, deviation = some.mean(axes, keepdims=True), some.std(axes, keepdims=True) + 1e-6
            x, test = (((one - mean) / deviation).astype(np.float32) for one in (x, test))
        centre, scale = (0, 1) if case.classes else (y[learnt].mean(), y[learnt].std())
        y = y if case.classes else ((y - centre) / scale).astype(np.float32)[:, None]
        x, test, y = (torch.from_numpy(np.ascontiguousarray(one)) for one in (x, test, y))
        own, held = (torch.from_numpy(rows) for rows in (learnt, chosen))
        return cls(x[own], y[own], x[held], y[held], test, float(centre), float(scale))

    def answers(self, outputs: Any, case: Case) -> Array:
        """Probabilities or numbers from what a network returns."""
        if case.classes:
            return outputs.float().softmax(-1).numpy()
        return outputs[:, 0].numpy() * self.scale + self.centre


BATCH = 64


def network(case: Case) -> Any:
    """Two hidden layers for a table, three convolutions for images, a GRU for text."""
    from torch import nn

    outputs = case.classes or 1
    if case.kind == "table":
        return nn.Sequential(
            *_dense(case.x.shape[1], 256), *_dense(256, 128), nn.Linear(128, outputs)
        )
    if case.kind == "text":
        return characters(outputs)
    channels = 1 if case.kind == "speech" else case.x.shape[1]
    small = case.x.shape[-1] <= 8
    return nn.Sequential(
        *_convolution(channels, 32),
        nn.Identity() if small else nn.MaxPool2d(2),
        *_convolution(32, 64),
        nn.MaxPool2d(2),
        *_convolution(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, outputs),
    )


def _dense(before: int, after: int) -> tuple[Any, ...]:
    from torch import nn

    return nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(0.1)


def _convolution(before: int, after: int) -> tuple[Any, ...]:
    from torch import nn

    return (
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


def characters(tokens: int) -> Any:
    """A GRU of 256 units over embedded characters."""
    from torch import nn

    class Characters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(tokens, 64)
            self.memory = nn.GRU(64, 256, batch_first=True)
            self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(256, tokens))

        def forward(self, x: Any) -> Any:
            return self.head(self.memory(self.embed(x))[0])

    return Characters()


def loss(outputs: Any, targets: Any) -> Any:
    """Cross entropy of classes or characters, or the mean squared error."""
    from torch.nn import functional as F

    if targets.is_floating_point():
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def augmented(case: Case, x: Any) -> Any:
    """Images moved by up to two pixels; photos also mirrored."""
    import torch
    from torch.nn import functional as F

    if case.kind not in ("image", "photo") or x.shape[-1] <= 8:
        return x
    down, right = torch.randint(0, 5, (2,)).tolist()
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    x = padded[..., down : down + x.shape[-2], right : right + x.shape[-1]]
    mirrored = torch.rand(len(x), 1, 1, 1) < 0.5
    return torch.where(mirrored, x.flip(-1), x) if case.kind == "photo" else x


def batches(parts: Tensors, steps: int = 0) -> tuple[Any, Any]:
    """Loaders of the samples to learn from and to choose by; an epoch may be cut to so many steps,
    on other samples each time.
    """
    from torch.utils.data import DataLoader, RandomSampler, TensorDataset

    own = TensorDataset(parts.x, parts.y)
    drawn = RandomSampler(own, num_samples=steps * BATCH if steps else None)
    train = DataLoader(own, BATCH, sampler=drawn, drop_last=True)
    return train, DataLoader(TensorDataset(parts.x_valid, parts.y_valid), 512)


def outputs_of(model: Any, x: Any) -> Any:
    """What a network returns for all inputs, in evaluation mode."""
    import torch

    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(512)])


def affordable(case: Case, parts: Tensors, clock: Clock) -> float:
    """Epochs that fit into the time, from twenty steps of training and a look at the loaders."""
    import torch

    model = network(case)
    optimizer = torch.optim.AdamW(model.parameters())
    loader, valid = batches(parts)
    began, steps = 0.0, 0
    for steps, (x, y) in enumerate(itertools.islice(loader, 22)):
        if steps == 2:
            began = time.perf_counter()
        optimizer.zero_grad()
        loss(model(augmented(case, x)), y).backward()
        optimizer.step()
    step = (time.perf_counter() - began) / max(1, steps - 1)
    epoch = step * (len(loader) + 3 * len(valid)) * OVERHEAD
    return min(EPOCHS, clock.left / epoch)


OVERHEAD = 1.3
"""A trainer needs so much longer than a bare loop; a cycle that is cut is worth little."""


def skorch(case: Case, clock: Clock) -> Predict:
    """`NeuralNet` with Adam and early stopping that keeps the best epoch, as its tutorial does."""
    import torch
    from skorch import NeuralNet
    from skorch.callbacks import Callback, EarlyStopping
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    class Deadline(Callback):
        def on_batch_end(self, *_: Any, **__: Any) -> None:
            if clock.left <= 0:
                raise KeyboardInterrupt  # ends the training, not the program

    parts = Tensors.of(case)
    net = NeuralNet(
        network(case),
        criterion=_Loss(),
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=BATCH,
        max_epochs=1_000,
        train_split=predefined_split(Dataset(parts.x_valid, parts.y_valid)),
        iterator_train__shuffle=True,
        iterator_train__drop_last=True,
        callbacks=[
            ("stop", EarlyStopping(patience=PATIENCE, load_best=True)),
            ("time", Deadline()),
        ],
        verbose=0,
    )
    net.fit(parts.x, parts.y)
    return lambda: parts.answers(outputs_of(net.module_, parts.x_test), case)


def _Loss() -> Any:
    from torch import nn

    class Loss(nn.Module):
        def forward(self, outputs: Any, targets: Any) -> Any:
            return loss(outputs, targets)

    return Loss


def lightning(case: Case, clock: Clock) -> Predict:
    """A `Trainer` with AdamW under one cycle; the best epoch by validation is kept."""
    import lightning as L
    import torch
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    parts = Tensors.of(case)
    afforded = affordable(case, parts, clock)
    epochs = math.ceil(afforded)
    train, valid = batches(parts, max(1, int(afforded / epochs * (len(parts.x) // BATCH))))

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(case)

        def training_step(self, batch: Any, _: int) -> Any:
            return loss(self.net(augmented(case, batch[0])), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("valid", loss(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), weight_decay=0.01)
            cycle = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, PEAK, total_steps=epochs * len(train)
            )
            return [optimizer], [{"scheduler": cycle, "interval": "step"}]

    best = ModelCheckpoint(case.folder, monitor="valid", save_weights_only=True)
    stop = EarlyStopping("valid", patience=PATIENCE)
    trainer = L.Trainer(
        max_epochs=epochs,
        max_time={"seconds": max(1, int(clock.left))},
        callbacks=[best, stop],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Module()
    trainer.fit(module, train, valid)
    if best.best_model_path:
        module.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    return lambda: parts.answers(outputs_of(module.net, parts.x_test), case)


PEAK = 5e-3
"""The highest learning rate of a cycle."""


def fastai(case: Case, clock: Clock) -> Predict:
    """`Learner.fit_one_cycle` as long as there is time, the best epoch kept."""
    from fastai.basics import Callback, CancelFitException, DataLoader, DataLoaders, Learner
    from fastai.callback.tracker import SaveModelCallback
    from torch.utils.data import TensorDataset

    class Deadline(Callback):
        def after_batch(self) -> None:
            if clock.left <= 0:
                raise CancelFitException

    class Augment(Callback):
        def before_batch(self) -> None:
            if self.training:
                self.learn.xb = (augmented(case, self.xb[0]),)

    parts = Tensors.of(case)
    epochs = max(1, int(affordable(case, parts, clock)))
    train = DataLoader(TensorDataset(parts.x, parts.y), BATCH, shuffle=True, drop_last=True)
    valid = DataLoader(TensorDataset(parts.x_valid, parts.y_valid), 512)
    learner = Learner(
        DataLoaders(train, valid),
        network(case),
        loss_func=loss,
        path=case.folder,
        cbs=[Augment(), SaveModelCallback(), Deadline()],
    )
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs, PEAK)
    return lambda: parts.answers(outputs_of(learner.model, parts.x_test), case)


# -- AutoGluon -------------------------------------------------------------------------------------


def autogluon(case: Case, clock: Clock) -> Predict:
    """`TabularPredictor` on the columns as they came, its default preset."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor

    train, valid, test = columns(case)
    marks = np.ones(CONTEXT, bool) if case.kind == "text" else _marks(case, test)

    def frame(x: Array) -> Any:
        table = pd.DataFrame(x, columns=[f"c{number}" for number in range(x.shape[1])])
        chosen = () if marks is None else table.columns[np.flatnonzero(marks)]
        return table.astype(dict.fromkeys(chosen, "category"))

    samples = frame(np.concatenate([train[0], valid[0]]))
    samples["target"] = np.concatenate([train[1], valid[1]])
    metric = "log_loss" if case.kind == "text" else "accuracy" if case.classes else "r2"
    problem = "regression" if not case.classes else "binary" if case.classes == 2 else "multiclass"
    predictor = TabularPredictor(
        "target", problem, eval_metric=metric, path=str(case.folder / "gluon"), verbosity=0
    )
    predictor.fit(samples, time_limit=clock.left, num_cpus=os.cpu_count(), num_gpus=0)

    def predict() -> Array:
        if not case.classes:
            return predictor.predict(frame(test)).to_numpy()
        found = predictor.predict_proba(frame(test))
        return found.reindex(columns=range(case.classes), fill_value=0.0).to_numpy()

    return predict


# -- one run ---------------------------------------------------------------------------------------


PEERS: dict[str, tuple[Callable[[Case, Clock], Predict], tuple[str, ...]]] = {
    "nomagic": (nomagic, ("torch", "nomagic", "nomagic.setups")),
    "mlp": (mlp, ("sklearn.neural_network", "sklearn.preprocessing")),
    "trees": (trees, ("sklearn.ensemble",)),
    "skorch": (skorch, ("torch", "skorch.callbacks", "skorch.helper")),
    "lightning": (lightning, ("torch", "lightning.pytorch.callbacks")),
    "fastai": (
        fastai,
        ("torch", "fastai.basics", "fastai.callback.tracker", "fastai.callback.schedule"),
    ),
    "autogluon": (autogluon, ("pandas", "autogluon.tabular")),
}
"""Each with the modules that are imported before the clock starts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("case", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    train, modules = PEERS[options.peer]
    for name in modules:
        importlib.import_module(name)
    case = Case.read(options.case, options.seed, options.folder)
    if "torch" in modules:
        importlib.import_module("torch").manual_seed(options.seed)
    clock = Clock(options.seconds, time.perf_counter())
    predict = train(case, clock)
    spent = options.seconds - clock.left
    began = time.perf_counter()
    found = predict()
    took = time.perf_counter() - began
    np.save(options.out, np.asarray(found, np.float32))
    print(json.dumps({"seconds": spent, "predicting": took}))


if __name__ == "__main__":
    main()
