"""MAML on sine waves: one inner gradient step through functional_call, second-order outer loss."""
import math

import torch
from torch import nn
from torch.func import functional_call

torch.manual_seed(0)
INNER_LR, SHOTS, TASKS = 0.05, 10, 8

model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
meta = torch.optim.Adam(model.parameters(), lr=2e-3)


def sample_task(generator=None):
    amplitude = 0.5 + 1.5 * torch.rand(1, generator=generator)
    phase = math.pi * torch.rand(1, generator=generator)

    def draw(n):
        x = 4 * torch.rand(n, 1, generator=generator) - 2
        return x, amplitude * torch.sin(2 * x + phase)

    return draw


def adapt(params, x, y, create_graph):
    loss = nn.functional.mse_loss(functional_call(model, params, (x,)), y)
    grads = torch.autograd.grad(loss, list(params.values()), create_graph=create_graph)
    return {name: p - INNER_LR * g for (name, p), g in zip(params.items(), grads)}


def evaluate(n_tasks=50):
    g = torch.Generator().manual_seed(123)
    before = after = 0.0
    for _ in range(n_tasks):
        task = sample_task(g)
        params = {k: v.detach().requires_grad_() for k, v in model.named_parameters()}
        x, y = task(SHOTS)
        fast = adapt(params, x, y, create_graph=False)
        x, y = task(50)
        with torch.no_grad():
            before += nn.functional.mse_loss(model(x), y).item() / n_tasks
            after += nn.functional.mse_loss(functional_call(model, fast, (x,)), y).item() / n_tasks
    return before, after


for iteration in range(300):
    outer = 0.0
    for _ in range(TASKS):
        task = sample_task()
        fast = adapt(dict(model.named_parameters()), *task(SHOTS), create_graph=True)
        x, y = task(SHOTS)
        outer = outer + nn.functional.mse_loss(functional_call(model, fast, (x,)), y) / TASKS
    meta.zero_grad()
    outer.backward()
    meta.step()
    if iteration % 60 == 59:
        before, after = evaluate()
        print(f"{iteration + 1:3d} mse before adapting {before:.3f} after one step {after:.3f}")
