"""A two-step optimizer of our own (ascent, then descent), a schedule, a moving average, SWA norms."""

import copy

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho=0.05, **options):
        super().__init__(params, dict(rho=rho, **options))
        self.base = base(self.param_groups, **options)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def ascend(self):
        norm = torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]).norm()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["kick"] = kick = p.grad * (group["rho"] / (norm + 1e-12))
                p.add_(kick)
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.state[p]["kick"])
        self.base.step()
        self.zero_grad()


torch.manual_seed(18)
x = torch.randn(160, 8)
y = (x[:, :3].sum(1) > 0).long()
model = nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 2))
average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
shadow = copy.deepcopy(model).requires_grad_(False)
optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer.base, max_lr=0.2, total_steps=40)
for epoch in range(5):
    for pick in torch.randperm(160).split(20):
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        optimizer.ascend()
        loss = F.cross_entropy(model(x[pick]), y[pick])
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        for p, q in zip(shadow.parameters(), model.parameters(), strict=True):
            p.lerp_(q.detach(), 0.1)
    print(epoch, repr(loss.item()), repr(schedule.get_last_lr()[0]))
update_bn(((xb,) for xb in x.split(40)), average)
finish(model, average, shadow)
