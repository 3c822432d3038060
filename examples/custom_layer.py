# %% [markdown]
# # A layer of one's own
#
# A layer is two methods. `forward` computes y and, in training, pushes what `backward` needs; `backward` pops it, adds
# to the gradients of the layer's parameters and returns the gradient by x.
#
#     python examples/custom_layer.py

# %%
import tempfile
from pathlib import Path

import numpy as np

import anyfw
from anyfw import Layer, Parameter, Trainer, data, losses, nn, optim
from anyfw.core.arrays import namespace
from anyfw.inspect import gradcheck

# %% [markdown]
# ## The layer
#
# $y = x + \sin^2(a x) / a$ with one frequency $a$ for each feature, learnt (Ziyin et al., arXiv:2006.08195). With
# $s = \sin(a x)$ and $t = \sin(2 a x) = 2 s \cos(a x)$, the derivatives are $dy/dx = 1 + t$ and
# $dy/da = (x t - s^2 / a) / a$.


# %%
class Snake(Layer):
    """y = x + sin(a x)^2 / a."""

    def __init__(self, features: int, frequency: float = 1.0):
        self.features = features  # each argument is kept under its own name, so that the layer can be saved
        self.frequency = frequency
        self.a = Parameter((features,), frequency)

    def forward(self, x, /, *, train=False):
        self.expect_features(x, self.features)
        if train:
            self.push(x)
        return x + namespace(x).sin(self.a.data * x) ** 2 / self.a.data

    def backward(self, dy, /):
        (x,), a, xp = self.pop(), self.a.data, namespace(dy)
        s, t = xp.sin(a * x), xp.sin(2.0 * a * x)
        self.a.add_grad(xp.sum(dy * (x * t - s**2 / a) / a, axis=0))
        return dy * (1.0 + t)


# %% [markdown]
# ## Do forward and backward agree?
#
# `gradcheck` moves each input and each parameter a little, and compares.

# %%
proof = gradcheck(Snake(3, frequency=0.7), np.random.default_rng(0).normal(size=(5, 3)))
print(proof)
if not proof.ok:
    raise SystemExit(1)

# %% [markdown]
# ## In a net
#
# It trains like any other: a sine, which plain activations find hard to continue.

# %%
x, y = data.noisy_curve(200, noise=0.05, curve=lambda x: np.sin(3 * x), seed=0)
net = nn.Sequential(nn.Linear(1, 32), Snake(32, frequency=2.0), nn.Linear(32, 1))
trainer = Trainer(net, losses.MSELoss(), optim.Adam(net.parameters(), lr=0.01), seed=0, progress=False)
history = trainer.fit((x, y), epochs=200, batch_size=50)
print(f"squared error on sin(3x): {history['loss'][0]:.3f} -> {history['loss'][-1]:.4f}")

# %% [markdown]
# ## Saved and loaded
#
# A file names classes but never imports code: hand in those that are yours.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "snake.safetensors")
    net.save(path)
    again = anyfw.load(path, layers=(Snake,))
points = np.linspace(-3, 3, 50, dtype="float32")[:, None]
same = np.array_equal(trainer.predict(points), again.backend.to_numpy(again(again.backend.asarray(points))))
print(f"saved and loaded: {'the same outputs, bit for bit' if same else 'OTHER outputs'}")
