"""Logistic regression on the breast cancer data, by full-batch gradient descent.

The data set is tiny, so every step uses all of it.
"""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

torch.manual_seed(0)

data = load_breast_cancer()
X_train, X_test, y_train, y_test = train_test_split(
    data.data, data.target, test_size=0.25, random_state=1, stratify=data.target
)
scaler = StandardScaler().fit(X_train)
X_train = torch.tensor(scaler.transform(X_train), dtype=torch.float32)
X_test = torch.tensor(scaler.transform(X_test), dtype=torch.float32)
y_train = torch.tensor(y_train, dtype=torch.float32)
y_test = torch.tensor(y_test, dtype=torch.float32)

model = torch.nn.Linear(X_train.shape[1], 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-3)

for step in range(201):
    loss = F.binary_cross_entropy_with_logits(model(X_train).squeeze(1), y_train)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        print(f"step {step:3d} loss {loss.item():.4f}")

with torch.no_grad():
    predicted = model(X_test).squeeze(1) > 0
    recall = predicted[y_test == 1].float().mean()
    specificity = (~predicted[y_test == 0]).float().mean()
print(f"accuracy {(predicted == y_test.bool()).float().mean():.3f}")
print(f"recall {recall:.3f} specificity {specificity:.3f}")
