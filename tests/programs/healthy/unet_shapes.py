"""Segmentation with a tiny U-Net: background, discs and boxes; per-pixel cross-entropy."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE = 32


class Shapes(Dataset):
    """Images with one disc and one box in noise, drawn once."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        self.images, self.masks = [], []
        for _ in range(n):
            mask = torch.zeros(SIZE, SIZE, dtype=torch.long)
            cy, cx = torch.randint(7, SIZE - 7, (2,), generator=g).tolist()
            r = torch.randint(4, 7, (1,), generator=g).item()
            top, left = torch.randint(1, SIZE - 12, (2,), generator=g).tolist()
            h, w = torch.randint(6, 11, (2,), generator=g).tolist()
            mask[top : top + h, left : left + w] = 2
            mask[(yy - cy) ** 2 + (xx - cx) ** 2 <= r * r] = 1
            levels = torch.tensor([0.0, 1.0, -1.0])
            image = levels[mask] + 0.7 * torch.randn(SIZE, SIZE, generator=g)
            self.images.append(image.unsqueeze(0))
            self.masks.append(mask)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.masks[i]


def block(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)
    )


class UNet(nn.Module):
    def __init__(self, c=12, classes=3):
        super().__init__()
        self.down1, self.down2 = block(1, c), block(c, 2 * c)
        self.middle = block(2 * c, 2 * c)
        self.up2, self.up1 = block(4 * c, c), block(2 * c, c)
        self.head = nn.Conv2d(c, classes, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        m = self.middle(F.max_pool2d(b, 2))
        u = self.up2(torch.cat([b, F.interpolate(m, scale_factor=2)], 1))
        u = self.up1(torch.cat([a, F.interpolate(u, scale_factor=2)], 1))
        return self.head(u)


@torch.no_grad()
def mean_iou(model, loader):
    model.eval()
    inter, union = torch.zeros(3), torch.zeros(3)
    for x, y in loader:
        p = model(x).argmax(1)
        for c in range(3):
            inter[c] += ((p == c) & (y == c)).sum()
            union[c] += ((p == c) | (y == c)).sum()
    return (inter / union).mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    train = DataLoader(Shapes(240, seed=1), batch_size=24, shuffle=True)
    valid = DataLoader(Shapes(60, seed=2), batch_size=60)
    model = UNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for epoch in range(7):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.3f} mIoU {mean_iou(model, valid):.3f}")
