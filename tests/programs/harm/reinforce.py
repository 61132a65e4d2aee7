"""Policy gradient in a corridor: no data set, one backward an episode, samples from the policy."""

import numpy as np
import torch
from _fingerprint import finish
from torch import nn
from torch.distributions import Categorical

torch.manual_seed(19)
rng = np.random.default_rng(19)


class Corridor:
    def reset(self):
        self.place, self.time = int(rng.integers(1, 8)), 0
        return self.view()

    def view(self):
        return torch.tensor([self.place / 4.5 - 1, 1.0 - self.time / 10])

    def step(self, action):
        self.place += 1 if action else -1
        self.time += 1
        done = self.place in (0, 9) or self.time == 20
        return self.view(), float(self.place == 9) - 0.02, done


policy = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
env, baseline = Corridor(), 0.0
for episode in range(60):
    state, done, logs, rewards = env.reset(), False, [], []
    while not done:
        choice = Categorical(logits=policy(state))
        action = choice.sample()
        logs.append(choice.log_prob(action))
        state, reward, done = env.step(action.item())
        rewards.append(reward)
    gain = sum(rewards)
    loss = -(gain - baseline) * torch.stack(logs).sum()
    baseline = 0.9 * baseline + 0.1 * gain
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if episode % 15 == 14:
        print(episode, repr(loss.item()), repr(baseline))
finish(policy, optimizer)
