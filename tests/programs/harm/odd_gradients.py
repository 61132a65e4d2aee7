"""Custom autograd function, sparse gradients, retain_graph, autograd.backward and grad penalties."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 1)


torch.manual_seed(26)
bag = nn.EmbeddingBag(30, 8, sparse=True)
head = nn.Linear(8, 2)
sparse = torch.optim.SparseAdam(bag.parameters(), 1e-2)
dense = torch.optim.Adagrad(head.parameters(), 5e-2)
for step in range(40):
    words = torch.randint(0, 30, (24, 5))
    y = (words.sum(1) > 72).long()
    hidden = bag(words)
    logits = head(hidden + Sign.apply(hidden))
    loss = F.cross_entropy(logits, y)
    (slope,) = torch.autograd.grad(loss, hidden, create_graph=True)
    penalty = (slope**2).sum()
    sparse.zero_grad()
    dense.zero_grad()
    loss.backward(retain_graph=True)
    torch.autograd.backward([penalty, logits], [torch.tensor(0.1), torch.zeros_like(logits)])
    bag.weight.grad = bag.weight.grad.coalesce()
    sparse.step()
    dense.step()
    if step % 10 == 9:
        print(step, repr(loss.item()), repr(penalty.item()), bag.weight.grad.is_sparse)
bag.weight.grad = None
finish(bag, head)
