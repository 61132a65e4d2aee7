"""Five networks trained at once with vmap(grad): no backward() and no optimizer at all."""

import copy

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

torch.manual_seed(16)
x = torch.randn(200, 4)
y = (x[:, 0] ** 2 > x[:, 1]).long()
models = [nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)) for _ in range(5)]
params, buffers = stack_module_state(models)
params = {k: v.detach() for k, v in params.items()}
base = copy.deepcopy(models[0]).to("meta")


def loss_of(params, buffers, x, y):
    return F.cross_entropy(functional_call(base, (params, buffers), (x,)), y)


step = vmap(grad_and_value(loss_of), in_dims=(0, 0, 0, 0))
for epoch in range(30):
    picks = torch.stack([torch.randperm(200)[:40] for _ in range(5)])
    grads, losses = step(params, buffers, x[picks], y[picks])
    params = {k: v - 0.2 * grads[k] for k, v in params.items()}
    if epoch % 10 == 9:
        print(epoch, [repr(v) for v in losses.tolist()])
finish(*params.values())
