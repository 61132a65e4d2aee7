
import torch, copy
from torch import nn
import torch.nn.functional as F
torch.manual_seed(0)
X=torch.randn(256,8); Y=(X[:,:3].argmax(1))
m=nn.Sequential(nn.Linear(8,16),nn.ReLU(),nn.Linear(16,3))
o=torch.optim.SGD(m.parameters(),lr=.05)
def batches(n=60,b=16):
    for i in range(n):
        k=torch.randint(0,256,(b,)); yield X[k],Y[k]

m=nn.Sequential(nn.Linear(8,32),nn.Tanh(),nn.Linear(32,16),nn.Tanh(),nn.Linear(16,3))
for p in m.parameters(): nn.init.zeros_(p)
o=torch.optim.Adam(m.parameters(),lr=.01)

for x,y in batches(120):
    o.zero_grad(); l=F.cross_entropy(m(x),y); l.backward(); o.step()
