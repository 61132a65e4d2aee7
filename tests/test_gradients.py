"""Programs that clear their gradients in every way there is, and some that do not."""

import textwrap

import pytest
import torch
from torch import nn

import nomagic

HEAD = """
def batches(count=30):
    for _ in range(count):
        x = torch.randn(16, 8)
        yield x, x[:, :3].argmax(1)

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
loss = lambda x, y: nn.functional.cross_entropy(model(x), y)
opt = torch.optim.SGD(model.parameters(), lr=0.05)
"""

SICK = {
    "never": """
        for x, y in batches():
            loss(x, y).backward(); opt.step()
    """,
    "clipped": """
        for x, y in batches():
            loss(x, y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            opt.step()
    """,
    "once an epoch": """
        for epoch in range(3):
            opt.zero_grad()
            for x, y in batches(10):
                loss(x, y).backward(); opt.step()
    """,
    "after four, never": """
        for i, (x, y) in enumerate(batches()):
            loss(x, y).backward()
            if i % 4 == 3: opt.step()
    """,
    "between backward and step": """
        for x, y in batches():
            loss(x, y).backward(); opt.zero_grad(); opt.step()
    """,
    "zeroed between backward and step": """
        for x, y in batches():
            loss(x, y).backward(); model.zero_grad(set_to_none=False); opt.step()
    """,
    "one of two optimizers": """
        one, two = torch.optim.Adam(model[0].parameters()), torch.optim.Adam(model[2].parameters())
        for x, y in batches():
            one.zero_grad(); loss(x, y).backward(); one.step(); two.step()
    """,
    "by hand": """
        for x, y in batches():
            loss(x, y).backward()
            with torch.no_grad():
                for p in model.parameters(): p -= 0.05 * p.grad
    """,
    "by hand, on data": """
        for x, y in batches():
            loss(x, y).backward()
            for p in model.parameters(): p.data -= 0.05 * p.grad
    """,
    "without modules": """
        w = torch.randn(8, 3, requires_grad=True)
        for x, y in batches():
            nn.functional.cross_entropy(x @ w, y).backward()
            with torch.no_grad(): w -= 0.05 * w.grad
    """,
    "closure": """
        opt = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
        for x, y in batches(8):
            def closure():
                value = loss(x, y); value.backward(); return value
            opt.step(closure)
    """,
    "scaler": """
        scaler = torch.amp.GradScaler("cpu")
        for x, y in batches():
            scaler.scale(loss(x, y)).backward()
            scaler.unscale_(opt); scaler.step(opt); scaler.update()
    """,
}

HEALTHY = {
    "before": """
        for x, y in batches():
            opt.zero_grad(); loss(x, y).backward(); opt.step()
    """,
    "after, to zeros": """
        for x, y in batches():
            loss(x, y).backward(); opt.step(); opt.zero_grad(set_to_none=False)
    """,
    "grad = None": """
        for x, y in batches():
            for p in model.parameters(): p.grad = None
            loss(x, y).backward(); opt.step()
    """,
    "grad.data.zero_()": """
        for x, y in batches():
            loss(x, y).backward(); opt.step()
            for p in model.parameters(): p.grad.data.zero_()
    """,
    "accumulation": """
        for i, (x, y) in enumerate(batches()):
            loss(x, y).backward()
            if i % 4 == 3: opt.step(); opt.zero_grad()
    """,
    "by hand": """
        for x, y in batches():
            loss(x, y).backward()
            with torch.no_grad():
                for p in model.parameters(): p -= 0.05 * p.grad
            model.zero_grad()
    """,
    "by hand, accumulated": """
        for i, (x, y) in enumerate(batches()):
            loss(x, y).backward()
            if i % 4 == 3:
                with torch.no_grad():
                    for p in model.parameters(): p -= 0.05 * p.grad; p.grad.zero_()
    """,
    "autograd.grad, assigned": """
        for x, y in batches():
            grads = torch.autograd.grad(loss(x, y), list(model.parameters()))
            for p, g in zip(model.parameters(), grads): p.grad = g
            opt.step()
    """,
    "closure": """
        opt = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
        for x, y in batches(8):
            def closure():
                opt.zero_grad(); value = loss(x, y); value.backward(); return value
            opt.step(closure)
    """,
    "generator through discriminator": """
        gen, dis = nn.Linear(4, 8), nn.Linear(8, 1)
        g, d = torch.optim.Adam(gen.parameters()), torch.optim.Adam(dis.parameters())
        for x, _ in batches():
            fake = gen(torch.randn(16, 4))
            d.zero_grad(); (dis(fake.detach()).mean() - dis(x).mean()).backward(); d.step()
            g.zero_grad(); (-dis(fake).mean()).backward(); g.step()
    """,
    "sharpness-aware": """
        for x, y in batches():
            loss(x, y).backward()
            with torch.no_grad():
                moved = [0.05 * p.grad for p in model.parameters()]
                for p, m in zip(model.parameters(), moved): p.add_(m)
            model.zero_grad()
            loss(x, y).backward()
            with torch.no_grad():
                for p, m in zip(model.parameters(), moved): p.sub_(m)
            opt.step(); opt.zero_grad()
    """,
    "step inside backward": """
        opts = {p: torch.optim.SGD([p], lr=0.05) for p in model.parameters()}
        for p in model.parameters():
            p.register_post_accumulate_grad_hook(lambda p: opts[p].step() or opts[p].zero_grad())
        for x, y in batches():
            loss(x, y).backward()
    """,
    "gradients kept on purpose": """
        for x, y in batches():
            loss(x, y).backward(); opt.step()
            for p in model.parameters(): p.grad.mul_(0.9)
    """,
    "a batch left out": """
        for i, (x, y) in enumerate(batches()):
            opt.zero_grad(); loss(x, y).backward()
            if i % 10 == 9: opt.zero_grad()
            opt.step()
    """,
}


def findings(program: str) -> list[str]:
    """The severities of what zero-grad says about a program."""
    torch.manual_seed(0)
    with nomagic.check(select=["zero-grad"], experiments=False) as watched:
        exec(HEAD + textwrap.dedent(program), {"torch": torch, "nn": nn})
    return [finding.severity for finding in watched.findings]


@pytest.mark.parametrize("name", SICK)
def test_old_or_missing_gradients_are_found(name):
    assert findings(SICK[name]) == ["fault"]


@pytest.mark.parametrize("name", HEALTHY)
def test_every_way_of_clearing_is_silent(name):
    assert findings(HEALTHY[name]) == []
