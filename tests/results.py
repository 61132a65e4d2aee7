"""Results for the tests of reports: a trial and a fit as they come out, and a text that attacks."""

from nomagic.words import Fit, Picture, Series, Stage, Trial, Verdict

HOSTILE = (
    "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>"
    "\" onload='alert(1)' javascript:alert(1) {{ 7 * 7 }} {% raw %} $x^{ --> ]]> &amp; "
    "\x00\x1b[31m\u202e\ud800 日本語 " + "long" * 50
)
PICTURE = Picture(
    "Learning curves",
    "The validation loss stops falling.",
    "epoch",
    "loss (nats)",
    (
        Series("training", (1.0, 2.0, 3.0), (2.3, 1.0, 0.2)),
        Series("validation", (1.0, 2.0, 3.0), (2.3, 1.2, 0.9), (2.2, 1.1, 0.8), (2.4, 1.3, 1.0)),
    ),
    log="y",
)
VERDICT = Verdict(
    "batch-norm", "batch-norm", "HELPS", 0.0189, 0.0111, 0.0267, 33.06, 0.9, 8,
    cost=1.34, fresh=True, others={"loss": -0.05},
    context={"rate": {"baseline": 2.0, "arm": 2.0}, "data": "digits"},
    claim="confirmed",
)  # fmt: skip
TRIAL = Trial(
    "digits",
    "accuracy",
    points=True,
    verdicts=(
        VERDICT,
        Verdict("prelu", "prelu-0.1", "OPEN", 0.004, -0.001, 0.011, 1.8, 0.7, 8, needed=24),
        Verdict("relu-after-maxpool", "relu-after-maxpool", "SAME RESULT", cost=0.95),
        Verdict("no-lrn", "no-lrn", "NOT APPLICABLE", reason="the network has no convolution"),
    ),
    pairs=16,
    seconds=400.0,
    ending="finished",
    context={"data": "digits", "batch size": 64, "epochs": 10},
)
STAGES = (
    Stage(
        "baselines",
        ("The best plain model is a linear one.",),
        {"best": "linear", "models": {"linear": {"value": 0.951}, "constant": {"value": 0.101}}},
        seconds=3.2,
    ),
    Stage(
        "overfit",
        ("Width 64 learns the training part by heart.", "Diagnosis: variance."),
        {"rungs": [{"width": 16, "train": 0.91}, {"width": 64, "train": 1.0}]},
        (PICTURE,),
        seconds=42.0,
    ),
    Stage("pretrain", skipped="all samples have labels"),
    Stage(
        "tune",
        ("A learning rate of 0.004 is best.",),
        change={
            "optimizer": {
                "partial": {"name": "torch.optim.adamw:AdamW"}, "args": [], "named": {"lr": 0.004},
            }
        },
        seconds=95.0,
    ),
)  # fmt: skip
FIT = Fit(
    "digits",
    "accuracy",
    points=True,
    directory="out/my digits",
    stages=STAGES,
    score={
        "accuracy": 0.9778, "low": 0.9583, "high": 0.9889, "samples": 360, "plain": 0.9556,
        "gain": 0.0222, "gain low": 0.0083, "gain high": 0.0389, "loss": 0.0812,
    },
    seconds=297.0,
    ending="finished",
    context={"data": "digits", "training samples": 1437},
)  # fmt: skip
