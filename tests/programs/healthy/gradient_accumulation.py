"""Large effective batches on a small machine: gradients are summed over eight micro-batches."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
MICRO, ACCUMULATE = 16, 8

teacher = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 4))
with torch.no_grad():
    x = torch.randn(4096, 12)
    y = (4 * teacher(x)).argmax(1)
train = TensorDataset(x[:3328], y[:3328])
val_x, val_y = x[3328:], y[3328:]

model = nn.Sequential(
    nn.Linear(12, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 96), nn.GELU(), nn.Linear(96, 4)
)
optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3)
loader = DataLoader(train, batch_size=MICRO, shuffle=True, drop_last=True)

for epoch in range(8):
    model.train()
    optimizer.zero_grad(set_to_none=True)
    for i, (xb, yb) in enumerate(loader, start=1):
        loss = F.cross_entropy(model(xb), yb)
        (loss / ACCUMULATE).backward()
        if i % ACCUMULATE == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    model.eval()
    with torch.no_grad():
        logits = model(val_x)
    acc = (logits.argmax(1) == val_y).float().mean()
    print(f"epoch {epoch}: val loss {F.cross_entropy(logits, val_y):.3f} acc {acc:.3f}")
