"""A spawned loader worker has to find the data set class and the collate function of this script."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.tensor([i / 64.0]), torch.tensor([(i / 64.0) ** 2])


def stack(rows):
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


if __name__ == "__main__":
    from _fingerprint import finish

    torch.manual_seed(11)
    loader = DataLoader(
        Squares(),
        batch_size=16,
        shuffle=True,
        num_workers=1,
        collate_fn=stack,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for epoch in range(4):
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, repr(loss.item()))
    print(__name__, Squares.__module__, type(loader.dataset).__qualname__)
    finish(model, optimizer)
