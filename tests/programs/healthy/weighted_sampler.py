"""Rare classes drawn more often by a weighted sampler; macro F1 decides."""
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def prepare():
    X, y = make_classification(
        n_samples=5000, n_features=12, n_informative=8, n_classes=3, n_clusters_per_class=1,
        weights=[0.8, 0.15, 0.05], class_sep=0.8, flip_y=0, random_state=2,
    )
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    mean, std = X_train.mean(0), X_train.std(0)
    make = lambda X, y: TensorDataset(torch.tensor((X - mean) / std).float(), torch.tensor(y))
    return make(X_train, y_train), make(X_val, y_val)


def macro_f1(model, loader):
    model.eval()
    truth, guess = [], []
    with torch.no_grad():
        for x, y in loader:
            truth += y.tolist()
            guess += model(x).argmax(1).tolist()
    return f1_score(truth, guess, average="macro")


torch.manual_seed(0)
train_set, val_set = prepare()
labels = train_set.tensors[1]
weights = 1.0 / labels.bincount()[labels].double()
sampler = WeightedRandomSampler(weights, num_samples=len(train_set), replacement=True)
train_loader = DataLoader(train_set, batch_size=75, sampler=sampler)
val_loader = DataLoader(val_set, batch_size=500)
model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(10):
    model.train()
    for x, y in train_loader:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.3f} macro F1 {macro_f1(model, val_loader):.3f}")
