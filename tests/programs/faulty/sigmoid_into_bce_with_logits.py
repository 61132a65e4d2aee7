"""Breast cancer with a small framework of our own."""
# consequence: overfit-one-batch, no-output-activation
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class BinaryClassifier(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
            nn.Sigmoid(),  # expect: logits-into-cross-entropy
        )

    def forward(self, x):
        return self.layers(x).squeeze(1)


class Trainer:
    def __init__(self, model, lr=3e-3):
        self.model = model
        self.criterion = nn.BCEWithLogitsLoss()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(epochs):
            self.model.train()
            for x, y in train_loader:
                self.optimizer.zero_grad()
                output = self.model(x)
                loss = self.criterion(output, y)  # expect: logits-into-cross-entropy  # expect-severity: fault
                loss.backward()
                self.optimizer.step()
            print(f"epoch {epoch} loss {loss.item():.4f} accuracy {self.evaluate(val_loader):.3f}")

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        right = sum(((self.model(x) > 0.5) == y.bool()).sum().item() for x, y in loader)
        return right / len(loader.dataset)


torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
mean, std = X_train.mean(0), X_train.std(0)


def tensors(X, y):
    return TensorDataset(torch.tensor((X - mean) / std).float(), torch.tensor(y).float())


Trainer(BinaryClassifier(30)).fit(
    DataLoader(tensors(X_train, y_train), batch_size=32, shuffle=True),
    DataLoader(tensors(X_val, y_val), batch_size=143),
    epochs=10,
)
