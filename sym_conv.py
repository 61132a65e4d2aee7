
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

m=nn.Sequential(nn.Unflatten(1,(1,2,4)),nn.Conv2d(1,16,3,padding=1),nn.BatchNorm2d(16),nn.ReLU(),nn.Conv2d(16,16,3,padding=1),nn.ReLU(),nn.Flatten(),nn.Linear(128,3))
nn.init.ones_(m[1].weight)
with torch.no_grad(): m[4].weight.fill_(.01)
o=torch.optim.SGD(m.parameters(),lr=.01)

for x,y in batches(120):
    o.zero_grad(); l=F.cross_entropy(m(x),y); l.backward(); o.step()
