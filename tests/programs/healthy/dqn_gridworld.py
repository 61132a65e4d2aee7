"""DQN on a 5x5 grid with a replay buffer and a target network."""
import copy
import random
from collections import deque

import torch
import torch.nn as nn
import torch.nn.functional as F

random.seed(0)
torch.manual_seed(0)
N, GOAL, PIT = 5, (4, 4), (2, 2)
MOVES = [(0, 1), (0, -1), (1, 0), (-1, 0)]


def encode(pos):
    return torch.tensor([pos[0] / 2 - 1.0, pos[1] / 2 - 1.0])


def move(pos, action):
    r = min(max(pos[0] + MOVES[action][0], 0), N - 1)
    c = min(max(pos[1] + MOVES[action][1], 0), N - 1)
    if (r, c) == GOAL:
        return (r, c), 1.0, True
    if (r, c) == PIT:
        return (r, c), -1.0, True
    return (r, c), -0.02, False


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, s):
        return self.net(s)


def random_start():
    while True:
        pos = (random.randrange(N), random.randrange(N))
        if pos not in (GOAL, PIT):
            return pos


def optimize(q, target, optimizer, buffer):
    batch = random.sample(buffer, 64)
    s, a, r, s2, done = (torch.stack([torch.as_tensor(v) for v in column]) for column in zip(*batch))
    with torch.no_grad():
        wanted = r + 0.95 * (1 - done) * target(s2).max(1).values
    predicted = q(s).gather(1, a.unsqueeze(1)).squeeze(1)
    loss = F.smooth_l1_loss(predicted, wanted)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(q.parameters(), 10.0)
    optimizer.step()
    return loss.item()


def evaluate(q):
    """Mean reward of the greedy policy over all starts."""
    total, starts = 0.0, [(r, c) for r in range(N) for c in range(N) if (r, c) not in (GOAL, PIT)]
    with torch.no_grad():
        for pos in starts:
            for _ in range(20):
                pos, reward, done = move(pos, q(encode(pos)).argmax().item())
                total += reward
                if done:
                    break
    return total / len(starts)


q = QNet()
target = copy.deepcopy(q).requires_grad_(False)
optimizer = torch.optim.Adam(q.parameters(), lr=2e-3)
buffer, steps, epsilon = deque(maxlen=3000), 0, 1.0
for episode in range(160):
    pos, done, t = random_start(), False, 0
    while not done and t < 30:
        state = encode(pos)
        if random.random() < epsilon:
            action = random.randrange(4)
        else:
            with torch.no_grad():
                action = q(state).argmax().item()
        pos, reward, done = move(pos, action)
        buffer.append((state, action, reward, encode(pos), float(done)))
        steps, t = steps + 1, t + 1
        if len(buffer) >= 200:
            optimize(q, target, optimizer, buffer)
        if steps % 100 == 0:
            target.load_state_dict(q.state_dict())
    epsilon = max(0.1, epsilon * 0.97)
    if episode % 20 == 19:
        print(f"episode {episode + 1} steps {steps} greedy reward {evaluate(q):.3f}")
