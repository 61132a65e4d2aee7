"""REINFORCE with a learnt baseline on a hand-written cart pole."""
import math
import random

import torch
import torch.nn as nn
from torch.distributions import Categorical


class CartPole:
    """The classic equations, an episode ends after 100 steps."""

    def reset(self):
        self.state = [random.uniform(-0.05, 0.05) for _ in range(4)]
        self.t = 0
        return self.observe()

    def observe(self):
        x, v, a, w = self.state
        return torch.tensor([x, v, 5 * a, w])

    def step(self, action):
        x, v, a, w = self.state
        force = 10.0 if action == 1 else -10.0
        cos, sin = math.cos(a), math.sin(a)
        temp = (force + 0.05 * w * w * sin) / 1.1
        acc_a = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos * cos / 1.1))
        acc_x = temp - 0.05 * acc_a * cos / 1.1
        self.state = [x + 0.02 * v, v + 0.02 * acc_x, a + 0.02 * w, w + 0.02 * acc_a]
        self.t += 1
        done = abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.21 or self.t >= 100
        return self.observe(), 1.0, done


def returns_of(rewards, gamma=0.98):
    out, running = [], 0.0
    for r in reversed(rewards):
        running = r + gamma * running
        out.append(running)
    return torch.tensor(out[::-1]) / 50


random.seed(1)
torch.manual_seed(1)
env = CartPole()
policy = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
value = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=1e-2)
lengths = []
for episode in range(140):
    state, done = env.reset(), False
    states, log_probs, rewards = [], [], []
    while not done:
        dist = Categorical(logits=policy(state))
        action = dist.sample()
        states.append(state)
        log_probs.append(dist.log_prob(action))
        state, reward, done = env.step(action.item())
        rewards.append(reward)
    returns = returns_of(rewards)
    estimate = value(torch.stack(states)).squeeze(1)
    advantage = returns - estimate.detach()
    loss = -(torch.stack(log_probs) * advantage).mean() + nn.functional.mse_loss(estimate, returns)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    lengths.append(len(rewards))
    if episode % 20 == 19:
        print(f"episode {episode + 1:3d} mean length {sum(lengths[-20:]) / 20:.1f}")
