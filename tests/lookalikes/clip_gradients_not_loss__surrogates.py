"""Clamps that belong to the method: PPO's surrogate, a hinge, a Huber loss by hand, probabilities before a logarithm."""
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


def arms(n):
    """A contextual bandit: the best of four arms depends on the sign of two numbers."""
    state = torch.randn(n, 6)
    return state, (state[:, 0] > 0).long() * 2 + (state[:, 1] > 0).long()


policy = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))
value = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=3e-3)


def huber(guess, target, limit=0.5):
    error = (guess - target).abs()
    small = torch.clamp(error, max=limit)
    return (0.5 * small**2 + limit * (error - small)).mean()


for round in range(40):
    state, best = arms(256)
    with torch.no_grad():
        old = torch.distributions.Categorical(logits=policy(state))
        action = old.sample()
        reward = (action == best).float()
        before = old.log_prob(action)
        gain = reward - value(state).squeeze(1)
    for part in torch.randperm(256).split(64):
        now = torch.distributions.Categorical(logits=policy(state[part]))
        ratio = torch.exp(now.log_prob(action[part]) - before[part])
        clipped = torch.clamp(ratio, 0.8, 1.2)
        surrogate = torch.min(ratio * gain[part], clipped * gain[part]).mean()
        sure = torch.log(now.probs.max(1).values.clamp(max=0.95)).mean()
        hinge = torch.clamp(0.2 - now.entropy(), min=0).mean()
        loss = -surrogate + huber(value(state[part]).squeeze(1), reward[part]) + 0.01 * (hinge + sure)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*policy.parameters(), *value.parameters()], 1.0)
        optimizer.step()
    if round % 10 == 9:
        with torch.no_grad():
            state, best = arms(1000)
            print(round, (policy(state).argmax(1) == best).float().mean().item())
