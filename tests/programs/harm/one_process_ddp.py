"""DistributedDataParallel over gloo with a world of one, a DistributedSampler and no_sync."""

import contextlib
import os
import tempfile

import torch
import torch.distributed as dist
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def main():
    torch.manual_seed(17)
    x = torch.randn(128, 6)
    data = TensorDataset(x, (x[:, 0] > 0).long())
    sampler = DistributedSampler(data, shuffle=True, seed=5)
    loader = DataLoader(data, batch_size=16, sampler=sampler)
    model = DistributedDataParallel(
        nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        for i, (xb, yb) in enumerate(loader):
            last = i % 2 == 1
            with contextlib.nullcontext() if last else model.no_sync():
                loss = F.cross_entropy(model(xb), yb) / 2
                loss.backward()
            if last:
                optimizer.step()
                optimizer.zero_grad()
        dist.all_reduce(total := loss.detach().clone())
        print(epoch, repr(total.item()), dist.get_rank(), dist.get_world_size())
    finish(model, optimizer)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        store = "file://" + os.path.join(folder, "store")
        dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
        main()
        dist.destroy_process_group()
