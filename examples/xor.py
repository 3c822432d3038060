"""XOR, the smallest problem that no single linear layer can solve.

python examples/xor.py
"""

import numpy as np

from anyfw import Trainer, losses, nn, optim

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([0, 1, 1, 0])

net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = optim.Adam(net.parameters(), lr=0.05)
trainer = Trainer(net, losses.CrossEntropyLoss(), optimizer, metrics=["accuracy"], seed=0, progress=False)
history = trainer.fit((x, y), epochs=200, batch_size=4)

print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.4f}, accuracy {history['accuracy'][-1]:.0%}")
for (a, b), probabilities in zip(x, trainer.predict(x, kind="probability"), strict=True):
    print(f"{a} xor {b} = {probabilities.argmax()}  (sure to {probabilities.max():.1%})")
