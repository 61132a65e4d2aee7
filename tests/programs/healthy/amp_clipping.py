"""Mixed precision: autocast, gradient scaling, and clipping after unscaling."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
x = (x - x.mean()) / x.std()
data = TensorDataset(x, torch.tensor(digits.target))
train, val = random_split(data, [1400, len(data) - 1400])
train_loader = DataLoader(train, batch_size=64, shuffle=True)
val_loader = DataLoader(val, batch_size=200)


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


model = nn.Sequential(nn.Linear(64, 64), Block(64), Block(64), nn.LayerNorm(64), nn.Linear(64, 10))
model.to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
scaler = torch.amp.GradScaler(device)
criterion = nn.CrossEntropyLoss()

for epoch in range(6):
    model.train()
    for inputs, targets in train_loader:
        inputs, targets = inputs.to(device), targets.to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type=device, dtype=torch.bfloat16):
            outputs = model(inputs)
            loss = criterion(outputs, targets)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        scaler.step(optimizer)
        scaler.update()

    model.eval()
    correct = 0
    with torch.no_grad(), torch.autocast(device_type=device, dtype=torch.bfloat16):
        for inputs, targets in val_loader:
            correct += (model(inputs.to(device)).argmax(1).cpu() == targets).sum().item()
    print(f"epoch {epoch} loss {loss.item():.4f} val accuracy {correct / len(val):.4f}")
