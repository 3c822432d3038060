# %% [markdown]
# # The lesson: neural networks from nothing
#
# A net is a chain of layers. Each knows two things: what it makes of its input (`forward`), and, given how the loss
# changes with its output, how the loss changes with its input and its weights (`backward`). `anyfw.lesson` has just
# that, in the words of a first lesson; `examples/multiclass.py` has the same with the tools of everyday work.
#
#     python examples/lesson.py

# %%
import numpy as np

from anyfw import data
from anyfw.lesson import (
    CrossEntropyLoss,
    Linear,
    Net,
    Softmax,
    SquaredLoss,
    Tanh,
    get_loss_acc,
    train_epoch,
)

# %% [markdown]
# ## One linear layer
#
# $z = x W^T + b$ for a batch of rows $x$. Weights are drawn by a seed: the same code gives the same numbers.

# %%
layer = Linear(2, 3)
x = np.array([[1.0, 2.0], [0.0, -1.0]])
print("W", layer.W.shape, "b", layer.b.shape, "z", layer.forward(x).shape)
assert np.allclose(layer.forward(x), x @ layer.W.T + layer.b)

# %% [markdown]
# ## From numbers to probabilities, and how wrong they are
#
# Softmax turns a row of numbers into probabilities, $p_i = e^{z_i} / \sum_j e^{z_j}$. The cross-entropy is
# $-\log p_c$ of the true class $c$, averaged over the rows: 0 for a net that is sure and right.

# %%
softmax, loss = Softmax(), CrossEntropyLoss()
p = softmax.forward(layer.forward(x))
y = np.array([2, 0])
print("probabilities\n", p.round(3), "\nloss", round(float(loss.forward(p, y)), 4))

# %% [markdown]
# ## Backward: the chain rule, layer by layer
#
# Each layer takes $\partial l / \partial\,\text{output}$ and gives $\partial l / \partial\,\text{input}$; on its way a
# linear layer finds $\partial l / \partial W$ and $\partial l / \partial b$. A gradient can be checked by moving a
# weight a little.

# %%
net = Net()
net.add(layer)
net.add(softmax)
value = loss.forward(net.forward(x), y)
net.backward(loss.backward(value))
h = 1e-6
layer.W[0, 1] += h
moved = loss.forward(net.forward(x), y)
layer.W[0, 1] -= h
print(f"dl/dW[0, 1]: backward {layer.dW[0, 1]:.6f}, by moving the weight {(moved - value) / h:.6f}")

# %% [markdown]
# ## Training: a small step down the gradient, again and again
#
# One linear layer can only draw a straight line between two classes. Two moons need more: a hidden layer with a
# non-linear activation between. Without the activation two linear layers are only one.

# %%
x, y = data.moons(400, noise=0.15, seed=0)
x_new, y_new = data.moons(400, noise=0.15, seed=1)


def classifier(hidden):
    net = Net()
    if hidden:
        net.add(Linear(2, hidden))
        net.add(Tanh())
    net.add(Linear(hidden or 2, 2))
    net.add(Softmax())
    return net


for hidden in (0, 16):
    net = classifier(hidden)
    for _ in range(60):
        train_epoch(net, x, y, CrossEntropyLoss(), batch_size=4, lr=0.1)
    value, accuracy = get_loss_acc(net, x_new, y_new, CrossEntropyLoss())
    print(f"{hidden or 'no':>2} hidden units: loss {value:.3f}, accuracy {accuracy:.1%} on rows it has not seen")

# %% [markdown]
# ## Regression: the same net, another loss
#
# With a number as target there is no softmax, and the loss is the squared error.

# %%
x, y = data.noisy_curve(200, noise=0.1, curve=np.sin, seed=0)
net = Net()
net.add(Linear(1, 16))
net.add(Tanh())
net.add(Linear(16, 1))
before, _ = get_loss_acc(net, x, y, SquaredLoss())
for _ in range(100):
    train_epoch(net, x, y, SquaredLoss(), batch_size=8, lr=0.05)
after, _ = get_loss_acc(net, x, y, SquaredLoss())
print(f"squared error {before:.3f} -> {after:.4f}; the noise alone is {0.1**2:.4f}")
