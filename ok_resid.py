
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

class R(nn.Module):
    def __init__(s):
        super().__init__(); s.a=nn.Linear(16,16); s.b=nn.Linear(16,16); nn.init.zeros_(s.b.weight)
    def forward(s,x): return x+s.b(F.relu(s.a(x)))
m=nn.Sequential(nn.Linear(8,16),R(),R(),nn.Linear(16,3))
o=torch.optim.SGD(m.parameters(),lr=.1)

for x,y in batches(120):
    o.zero_grad(); l=F.cross_entropy(m(x),y); l.backward(); o.step()
