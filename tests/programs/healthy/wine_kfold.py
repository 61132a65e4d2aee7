"""5-fold cross-validation of a small network on the wine data."""
import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED = 7


def make_model(n_features, n_classes):
    return nn.Sequential(nn.Linear(n_features, 32), nn.ReLU(), nn.Linear(32, n_classes))


def train_fold(x_train, y_train, epochs=40):
    model = make_model(x_train.shape[1], 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-2)
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=16, shuffle=True)
    loss_fn = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for xb, yb in loader:
            loss = loss_fn(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def main():
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    X, y = load_wine(return_X_y=True)
    scores = []
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=SEED)
    for fold, (train_idx, val_idx) in enumerate(folds.split(X, y)):
        mean, std = X[train_idx].mean(0), X[train_idx].std(0)
        x = torch.tensor((X - mean) / std, dtype=torch.float32)
        t = torch.tensor(y)
        model = train_fold(x[train_idx], t[train_idx])
        model.eval()
        with torch.no_grad():
            score = (model(x[val_idx]).argmax(1) == t[val_idx]).float().mean().item()
        scores.append(score)
        print(f"fold {fold}: {score:.3f}")
    print(f"accuracy {np.mean(scores):.3f} +- {np.std(scores):.3f}")


if __name__ == "__main__":
    main()
