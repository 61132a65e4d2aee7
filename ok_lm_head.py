
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

e=nn.Embedding(500,16); h=nn.Linear(16,500); nn.init.zeros_(h.weight); nn.init.constant_(e.weight,.1)
o=torch.optim.Adam([*e.parameters(),*h.parameters()],lr=.01)
for i in range(60):
    t=torch.randint(0,50,(33,)); l=F.cross_entropy(h(e(t[:-1])),t[1:]); o.zero_grad(); l.backward(); o.step()
