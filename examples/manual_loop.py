"""The training loop by hand, without Trainer: forward, loss, backward, step, forget the gradients.

python examples/manual_loop.py [EPOCHS]
"""

import sys

from anyfw import data, losses, nn, optim

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20

digits = data.load("digits")
net = nn.Sequential(
    nn.Rescale(digits.scale, digits.shift),
    nn.Linear(digits.features, 32),
    nn.ReLU(),
    nn.Linear(32, digits.outputs),
).init(seed=0)
loss = losses.CrossEntropyLoss()
loss.check((digits.outputs,), digits.train[1])  # once, on the host: loss(...) itself never looks at values
optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

# The rows go to where the net is, once: to the GPU with ANYFW_BACKEND=cupy.
backend = net.backend
x, x_test = (backend.asarray(part[0], net.dtype) for part in (digits.train, digits.test))
y, y_test = (backend.asarray(part[1]) for part in (digits.train, digits.test))
batches = data.Batches(len(digits.train[1]), batch_size=64, seed=0)

for epoch in range(epochs):
    total = 0.0
    for rows in batches.epoch(epoch):
        chosen = backend.asarray(rows)
        scores = net.forward(backend.xp.take(x, chosen, axis=0), train=True)
        value, dscores = loss(scores, backend.xp.take(y, chosen, axis=0))
        net.accumulate(dscores)  # backward(dscores) would also give the gradient by x
        optimizer.step()
        net.zero_grad()
        total = total + value * len(rows)  # stays on the device; reading it here would wait for each step
    print(f"epoch {epoch + 1:2}  loss {float(total) / batches.source_len:.4f}")

right = backend.xp.argmax(net(x_test), axis=1) == y_test
print(f"test accuracy {backend.to_numpy(right).mean():.1%}")
