"""Where the advice comes from: the keys that practices name in ``SOURCES``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A text that gives advice or evidence: how to cite it, what it is, where it can be read."""

    citation: str
    what: str
    where: str = ""

    def __str__(self) -> str:
        where = f" {self.where}" if self.where else ""
        return f"{self.citation} ({self.what}).{where}"


_TRICKS = "chapter of Neural Networks: Tricks of the Trade"

SOURCES: dict[str, Source] = {
    "000": Source("A teacher's page on why networks fail, linking the experts", "seed document"),
    "001": Source("The same teacher's page, as source text", "seed document"),
    "002": Source("Black magic of deep learning: tips and tricks, an excerpt", "seed document"),
    "004": Source("Questions and answers on deep learning tricks in practice", "seed document"),
    "KAR": Source(
        "Karpathy 2019, A Recipe for Training Neural Networks",
        "expert's guide",
        "https://karpathy.github.io/2019/04/25/recipe/",
    ),
    "KTW": Source("Karpathy 2018, most common neural net mistakes", "expert's list"),
    "BYU": Source(
        "Matt H & Daniel R 2017, Practical Advice for Building Deep Neural Networks",
        "guide of the BYU Perception, Control and Cognition lab",
    ),
    "C230": Source(
        "Amidi & Amidi 2018, Deep Learning Tips and Tricks",
        "cheat sheet of Stanford CS 230",
        "https://stanford.edu/~shervine/teaching/cs-230/cheatsheet-deep-learning-tips-and-tricks",
    ),
    "AMA": Source(
        "Amatriain 2019, Lessons Learned from Building Practical Deep Learning Systems",
        "lecture, Full Stack Deep Learning",
    ),
    "JJ": Source("Johnson, Deep Learning for Computer Vision", "lectures, University of Michigan"),
    "BMP": Source("Black Magic of Deep Learning", "the full post that 002 is an excerpt of"),
    "GAL": Source(
        "Gal & Ghahramani 2016, Dropout as a Bayesian Approximation", "paper", "arXiv:1506.02142"
    ),
    "GLO11": Source("Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks", "paper"),
    "HE15": Source(
        "He et al. 2015, Delving Deep into Rectifiers (PReLU)", "paper", "arXiv:1502.01852"
    ),
    "ELU15": Source(
        "Clevert et al. 2015, Fast and Accurate Deep Network Learning by ELUs",
        "paper",
        "arXiv:1511.07289",
    ),
    "IOF15": Source("Ioffe & Szegedy 2015, Batch Normalization", "paper", "arXiv:1502.03167"),
    "IN16": Source("Ulyanov et al. 2016, Instance Normalization", "paper", "arXiv:1607.08022"),
    "LN16": Source("Ba et al. 2016, Layer Normalization", "paper", "arXiv:1607.06450"),
    "SQZ": Source("Iandola et al. 2016, SqueezeNet", "paper", "arXiv:1602.07360"),
    "RES": Source("He et al. 2015, Deep Residual Learning", "paper", "arXiv:1512.03385"),
    "INC": Source(
        "Szegedy et al. 2014, Going Deeper with Convolutions", "paper", "arXiv:1409.4842"
    ),
    "KRI12": Source(
        "Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks",
        "paper",
    ),
    "TOT": Source("Neural Networks: Tricks of the Trade, 2nd edition 2012", "book"),
    "LEC98": Source("LeCun et al. 1998, Efficient BackProp", _TRICKS),
    "BOT12": Source("Bottou 2012, Stochastic Gradient Descent Tricks", _TRICKS),
    "BEN12": Source(
        "Bengio 2012, Practical Recommendations for Gradient-Based Training",
        _TRICKS,
        "arXiv:1206.5533",
    ),
    "HIN12": Source("Hinton 2012, A Practical Guide to Training RBMs", _TRICKS),
    "PRE98": Source("Prechelt 1998, Early Stopping - But When?", _TRICKS),
    "COA12": Source("Coates & Ng 2012, Learning Feature Representations with K-means", _TRICKS),
    "CAR98": Source("Caruana 1998, A Dozen Tricks with Multitask Learning", _TRICKS),
    "HOR98": Source("Horn et al. 1998, Large Ensemble Averaging", _TRICKS),
    "SIM98": Source("Simard et al. 1998, Tangent Distance and Tangent Propagation", _TRICKS),
    "MON12": Source(
        "Montavon & Müller 2012, Deep Boltzmann Machines and the Centering Trick", _TRICKS
    ),
    "MAR12": Source("Martens & Sutskever 2012, Hessian-Free Optimization", _TRICKS),
    "CS231": Source(
        "Stanford CS231n, Neural Networks 1-3", "course notes", "https://cs231n.github.io/"
    ),
    "TP": Source(
        "Godbole et al. 2023, Deep Learning Tuning Playbook",
        "guide",
        "https://github.com/google-research/tuning_playbook",
    ),
    "SMI18": Source(
        "Smith 2018, A Disciplined Approach to Neural Network Hyper-Parameters",
        "paper",
        "arXiv:1803.09820",
    ),
    "MIS17": Source(
        "Mishkin et al. 2017, Systematic Evaluation of CNN Advances on ImageNet",
        "evidence",
        "arXiv:1606.02228",
    ),
    "KO15": Source("Ko et al. 2015, Audio Augmentation for Speech Recognition", "paper"),
    "LI18": Source(
        "Li et al. 2018, Understanding the Disharmony between Dropout and Batch Normalization",
        "evidence",
        "arXiv:1801.05134",
    ),
    "WU18": Source("Wu & He 2018, Group Normalization", "evidence", "arXiv:1803.08494"),
    "ZHA19": Source(
        "Zhang 2019, Making Convolutional Networks Shift-Invariant Again",
        "evidence",
        "arXiv:1904.11486",
    ),
    "VLA17": Source(
        "van Laarhoven 2017, L2 Regularization versus Batch and Weight Normalization",
        "evidence",
        "arXiv:1706.05350",
    ),
    "BIS95": Source(
        "Bishop 1995, Training with Noise is Equivalent to Tikhonov Regularization", "evidence"
    ),
    "WAG13": Source(
        "Wager et al. 2013, Dropout Training as Adaptive Regularization",
        "evidence",
        "arXiv:1307.1493",
    ),
    "ERH10": Source(
        "Erhan et al. 2010, Why Does Unsupervised Pre-training Help Deep Learning?", "evidence"
    ),
    "LAK17": Source("Lakshminarayanan et al. 2017, Deep Ensembles", "evidence", "arXiv:1612.01474"),
    "OVA19": Source(
        "Ovadia et al. 2019, Can You Trust Your Model's Uncertainty?",
        "evidence",
        "arXiv:1906.02530",
    ),
    "GUO17": Source(
        "Guo et al. 2017, On Calibration of Modern Neural Networks", "evidence", "arXiv:1706.04599"
    ),
    "NOR21": Source(
        "Northcutt et al. 2021, Pervasive Label Errors in Test Sets",
        "evidence",
        "arXiv:2103.14749",
    ),
    "BAR20": Source(
        "Barz & Denzler 2020, Do We Train on Test Data?", "evidence", "arXiv:1902.00423"
    ),
    "BOU21": Source(
        "Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks",
        "evidence",
        "arXiv:2103.03098",
    ),
}
