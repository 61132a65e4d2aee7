"""Two networks, two optimizers, two backwards a step."""

import torch
from _fingerprint import finish
from torch import nn

torch.manual_seed(4)
generator = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.LeakyReLU(0.2), nn.Linear(32, 2))
critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(32, 1))
g_opt = torch.optim.Adam(generator.parameters(), 1e-3, betas=(0.5, 0.99))
d_opt = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.99))
bce = nn.BCEWithLogitsLoss()
one, zero = torch.ones(64, 1), torch.zeros(64, 1)
for step in range(120):
    angle = 6.283 * torch.rand(64)
    real = torch.stack([angle.cos(), angle.sin()], 1)
    fake = generator(torch.randn(64, 4))
    d_loss = bce(critic(real), one) + bce(critic(fake.detach()), zero)
    d_opt.zero_grad()
    d_loss.backward()
    d_opt.step()
    g_loss = bce(critic(fake), one)
    g_opt.zero_grad()
    g_loss.backward()
    g_opt.step()
    if step % 30 == 29:
        print(step, repr(d_loss.item()), repr(g_loss.item()))
finish(generator, critic, g_opt, d_opt)
