"""GAN on a Gaussian mixture."""
import torch
from torch import nn

torch.manual_seed(0)
centers = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])


def real_batch(n):
    return centers[torch.randint(0, 4, (n,))] + 0.1 * torch.randn(n, 2)


netG = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
netD = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
optG = torch.optim.Adam(netG.parameters(), lr=1e-3)
optD = torch.optim.Adam(netD.parameters(), lr=1e-3)
bce = nn.BCEWithLogitsLoss()
ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)

for i in range(400):
    fake = netG(torch.randn(64, 4))
    lossD = bce(netD(real_batch(64)), ones) + bce(netD(fake.detach()), zeros)
    lossD.backward()  # expect: zero-grad  # expect-severity: fault
    optD.step()

    optG.zero_grad()
    lossG = bce(netD(fake), ones)
    lossG.backward()
    optG.step()
    if i % 80 == 0:
        print(i, lossD.item(), lossG.item())
