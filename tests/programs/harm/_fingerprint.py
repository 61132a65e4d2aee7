"""What is left when training ends: weights, gradients, modes, flags and the random streams."""

import hashlib
import random

import numpy as np
import torch
from torch import nn

np.random.seed(0)
random.seed(0)


def digest(tensors):
    """One SHA-256 over names, types and bytes."""
    sha = hashlib.sha256()
    for name, tensor in tensors:
        sha.update(name.encode())
        if tensor is None:
            sha.update(b"none")
            continue
        flat = tensor.detach().cpu().contiguous().flatten()
        sha.update(str((tensor.dtype, tuple(tensor.shape), tensor.requires_grad)).encode())
        sha.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return sha.hexdigest()


def finish(*things):
    """Print everything that a watcher could have disturbed."""
    tensors, modes, hooks = [], [], 0
    for i, thing in enumerate(things):
        if isinstance(thing, nn.Module):
            tensors += [(f"{i}.{k}", v) for k, v in thing.named_parameters()]
            tensors += [(f"{i}.{k}", v) for k, v in thing.named_buffers()]
            modes += [m.training for m in thing.modules()]
            hooks += sum(len(m._forward_hooks) + len(m._backward_hooks) for m in thing.modules())
        elif isinstance(thing, torch.optim.Optimizer):
            for j, state in enumerate(thing.state.values()):
                tensors += [
                    (f"{i}.{j}.{k}", v) for k, v in state.items() if isinstance(v, torch.Tensor)
                ]
        else:
            tensors.append((str(i), thing))
    grads = [(name, t.grad) for name, t in tensors if t is not None and t.is_leaf]
    print("modes", "".join("TE"[not mode] for mode in modes), "hooks", hooks)
    print("flags", torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads())
    print("torch", torch.rand(3).tolist(), torch.randn(2).tolist(), torch.randperm(5).tolist())
    print("numpy", np.random.rand(3).tolist(), "python", [random.random() for _ in range(3)])
    print("generator", hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest())
    print("gradients", digest(grads))
    print("weights", digest(tensors))
