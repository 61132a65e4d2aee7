"""Know how often each class occurs, and score the rare ones on their own.

With one class in twenty a network that always says "no" is right 95 times of 100. Accuracy hides
it; recall of each class shows it. Imbalance is no fault in itself: not looking at it is.

Against: re-weighting usually buys recall of the minority with calibration and accuracy of the
majority; it is not free.

Check: labels seen in training and evaluation. A class with at least 20 evaluated items, rarer
than half its equal share, and no single right prediction in the last evaluation is a warning,
unless that could be chance in a task that is hard on the whole. The most frequent class ten times
as frequent as the rarest is a note.
"""

from collections import Counter
from collections.abc import Iterator

from nomagic.probes.evaluations import Evaluations, Score
from nomagic.words import Finding, NotApplicable, Outcome, Picture, Place, Series

SOURCES = ("KAR", "AMA", "TOT")
RATIO = 10  # most frequent to rarest class
ITEMS = 20  # evaluated items of a class
LUCK = (
    1e-3  # chance of none right, were the class recalled a third as well as the data on the whole
)
CLASSES = 40  # in one picture, the rarest
LABELS = 200  # training labels seen before their counts mean something


def check(evaluations: Evaluations) -> Iterator[Outcome]:
    """Classes that are never predicted right, and counts far apart."""
    if any(score.dense for score in evaluations):
        yield NotApplicable("each sample has many targets (tokens, pixels), uneven by nature")
        return
    trained = Counter[int]()
    for score in evaluations:
        if not score.evaluation:
            trained.update({label: n for label, (n, _) in score.classes.items()})
    last = last_evaluation(evaluations)
    seen = trained or Counter({k: n for k, (n, _) in (last.classes if last else {}).items()})
    if len(seen) < 2 or sum(seen.values()) < LABELS:
        yield NotApplicable("no labels of two or more classes were seen")
        return
    missed = never_right(last, seen) if last is not None else {}
    if last is not None and missed:
        yield Finding(
            message="a rare class is never predicted right",
            seen=(
                f"{counts(missed, seen)}, none right in the last evaluation, whose accuracy is"
                f" {last.accuracy:.1%}"
            ),
            fix=(
                "print the recall of each class; weight the loss or sample the rare classes more"
                " often, and try which pays"
            ),
            place=place(evaluations),
        )
        return
    often, rare = max(seen.values()), min(seen.values())
    if often >= RATIO * rare:
        label, _ = min(seen.items(), key=lambda item: item[1])
        yield Finding(
            message="the classes are far from balanced",
            seen=(
                f"the most frequent class has {often:,} of {sum(seen.values()):,} labels seen,"
                f" class {label} has {rare:,}"
            ),
            fix="score each class on its own (recall, F1, AUC): accuracy hides the rare ones",
            severity="note",
            place=place(evaluations),
        )


def last_evaluation(scores: Evaluations) -> Score | None:
    """The last evaluation that counted classes."""
    return next((s for s in reversed(scores.rows) if s.evaluation and len(s.classes) >= 2), None)


def never_right(last: Score, seen: Counter[int]) -> dict[int, int]:
    """Rare classes with enough evaluated items and none right: label -> items."""
    total = sum(n for n, _ in last.classes.values())
    return {
        label: n
        for label, (n, right) in last.classes.items()
        if n >= ITEMS
        and not right
        and n < 0.5 * total / len(last.classes)
        and seen[label]
        and (1 - last.accuracy / 3) ** n < LUCK
    }


def counts(missed: dict[int, int], seen: Counter[int]) -> str:
    """A few missed classes with their counts."""
    total = sum(seen.values())
    some = [
        f"class {label} ({seen[label] / total:.1%} of the training labels seen): {n} items"
        for label, n in sorted(missed.items())[:3]
    ]
    return "; ".join(some)


def place(scores: Evaluations) -> Place | None:
    """The training loader, or the line of the training loss."""
    training = [score for score in scores if not score.evaluation]
    loaders = [score.loader for score in training if score.loader is not None]
    return loaders[0] if loaders else (training[0].place if training else None)


def show(evaluations: Evaluations) -> Iterator[Picture]:
    """How often each class was evaluated, and how often right."""
    last = last_evaluation(evaluations)
    if last is None:
        return
    classes = sorted(last.classes.items(), key=lambda item: item[1][0])[:CLASSES]
    names = tuple(f"class {label}" for label, _ in classes)
    yield Picture(
        "Recall by class",
        "How many of each class were in the last evaluation, and how many of them were predicted "
        "right, the rarest class first.",
        "",
        "items",
        (
            Series("evaluated", names, tuple(float(n) for _, (n, _) in classes), kind="bars"),
            Series("right", names, tuple(float(k) for _, (_, k) in classes), kind="bars"),
        ),
    )
