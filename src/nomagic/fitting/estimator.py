"""The engine behind scikit-learn's interface: networks for tables that fit into its pipelines.

Inputs are standardised, and so are the targets of a regression; the members of an ensemble are
trained at once in one program. It computes in float64, so that predictions do not depend on what
else is in the batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor, nn

from nomagic.datasets.samples import Data
from nomagic.engine import plain, stacked
from nomagic.engine.plan import Plan
from nomagic.fitting.fitted import Array, Fitted, Scaling
from nomagic.parts import nets
from nomagic.parts.scaling import mean_and_deviation, standardise
from nomagic.words import Form, InputStep, Setup, Task

WIDTH = 64
"""Units of the two hidden layers of the network that is taken where none is given."""


class Networks(BaseEstimator):
    """What `NoMagicClassifier` and `NoMagicRegressor` have in common, their arguments among it.

    Args:
        model: makes an ``nn.Module`` from a `nomagic.words.Form`; by default two hidden layers.
        members: networks that are averaged.
        epochs: how often each sample is seen, at most.
        lr: the learning rate of AdamW.
        batch_size: samples of one step.
        early_stopping: hold a part out, stop when it gets worse and keep the best epoch.
        validation_fraction: the share that is held out.
        n_iter_no_change: epochs without a better loss after which it stops.
        random_state: a seed; equal ones give equal networks.
    """

    def __init__(
        self,
        model: Callable[[Form], nn.Module] | None = None,
        *,
        members: int = 1,
        epochs: int = 60,
        lr: float = 3e-3,
        batch_size: int = 32,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.members = members
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def _train(
        self, x: Array, y: Tensor, task: Task, labels: tuple[str, ...], **others: Any
    ) -> Fitted:
        """Train the networks on checked inputs (n, features) and targets."""
        rows = torch.arange(len(x))
        everything = None if self.early_stopping else (rows, rows[:1])
        inputs = torch.from_numpy(np.array(x, np.float64))
        data = Data("arrays", inputs, y, task, labels, test_rows=everything)
        setup = Setup(
            data.name,
            self.model or partial(nets.mlp, width=WIDTH),
            optimizer=partial(torch.optim.AdamW, lr=self.lr),
            epochs=self.epochs,
            batch_size=self.batch_size,
            patience=self.n_iter_no_change if self.early_stopping else None,
            split="fresh" if self.early_stopping else "fixed",
            held_out=self.validation_fraction,
            precision="float64",
            members=self.members,
            inputs=(InputStep("standardise-input", mean_and_deviation, standardise),),
        )
        plan = Plan(setup, data)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return replace(Fitted.of(plan, seed, _networks(plan, seed)), **others)

    def _outputs(self, x: Any) -> tuple[Array, Array]:
        """Mean and spread for raw inputs."""
        check_is_fitted(self)
        checked: Any = validate_data(self, x, reset=False, dtype=np.float64)
        fitted: Fitted = self.fitted_  # pyright: ignore[reportAttributeAccessIssue]
        found = fitted.run(torch.from_numpy(np.array(checked)))
        mean, spread = fitted.served.said(found)
        return mean.numpy(), spread.numpy()

    def spread(self, X: Any) -> Array:  # noqa: N803 (scikit-learn's name)
        """The standard deviation over the members of what each predicts."""
        return self._outputs(X)[1]


def _networks(plan: Plan, seed: int) -> list[nn.Module]:
    """The members, trained at once where that is possible."""
    members = plan.members([seed])
    if len(members) == 1 or stacked.reason_against(plan):
        trained = [plain.fit(plan, member) for member in members]
        failed = any(one.failed for one in trained)
        found = [one.model for one in trained]
    else:
        with stacked.mapped():
            stack = stacked.build(plan, members)
            stacked.fit(plan, stack)
        failed = bool(stack.failed.any())
        found = [_member(stack, number) for number in range(len(members))]
    if failed:
        raise ValueError("the loss became NaN in training: lower lr, or look for huge inputs")
    return found


@torch.no_grad()
def _member(stack: stacked.Stack, number: int) -> nn.Module:
    """One network of a stack."""
    model = copy.deepcopy(stack.skeleton)
    tensors = {**stack.parameters, **stack.frozen, **stack.buffers}
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in own.items():
        tensor.copy_(tensors[name][number])
    return model


class NoMagicClassifier(ClassifierMixin, Networks):
    """Networks that say which of several classes a row of a table belongs to.

    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> bool(NoMagicClassifier(random_state=0).fit(x, y).score(x, y) > 0.95)
    True
    """

    def fit(self, X: Any, y: Any) -> NoMagicClassifier:  # noqa: N803 (scikit-learn's name)
        """Train on inputs (n, features) and classes (n,) of any kind.

        Raises:
            ValueError: the data cannot be used, or training diverged.
        """
        x: Any
        x, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {self.classes_[0]!r}; expected two or more")
        targets = torch.from_numpy(codes.astype(np.int64))
        labels = tuple(map(str, self.classes_))
        self.fitted_ = self._train(x, targets, "classification", labels)
        return self

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The probability of each class (n, classes), the mean over the members."""
        return self._outputs(X)[0]

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The most probable class of each row."""
        chosen = self.predict_proba(X).argmax(1)
        return self.classes_[chosen]


class NoMagicRegressor(RegressorMixin, Networks):
    """Networks that say one or more numbers for a row of a table.

    >>> from sklearn.datasets import load_diabetes
    >>> x, y = load_diabetes(return_X_y=True)
    >>> bool(NoMagicRegressor(random_state=0).fit(x, y).score(x, y) > 0.5)
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> NoMagicRegressor:  # noqa: N803 (scikit-learn's name)
        """Train on inputs (n, features) and numbers (n,) or (n, targets).

        Raises:
            ValueError: the data cannot be used, or training diverged.
        """
        x: Any
        x, y = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        y = np.asarray(y, np.float64)
        self.wide_ = y.ndim > 1 and y.shape[1] > 1
        centre, deviation = np.atleast_1d(y.mean(0)), np.atleast_1d(y.std(0))
        deviation = np.where(deviation > 0, deviation, 1.0)
        targets = torch.from_numpy((y - centre) / deviation)
        scaling = Scaling(tuple(centre.tolist()), tuple(deviation.tolist()))
        self.fitted_ = self._train(x, targets, "regression", (), scaling=scaling)
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The numbers of each row, the mean over the members."""
        mean = self._outputs(X)[0]
        return mean if mean.ndim == 1 or self.wide_ else mean[:, 0]
