"""Underfitting and overfitting: as nets grow, the error on the training rows falls, that on new rows falls and rises.

python examples/capacity.py       (writes capacity.png where Matplotlib is installed)
"""

import numpy as np

from anyfw import Trainer, data, losses, nn, optim
from anyfw.core.errors import MissingExtraError
from anyfw.report import plots

SHAPES = {"1": (1,), "2": (2,), "4-4": (4, 4), "8-8": (8, 8), "16-16-16": (16, 16, 16)}  # widths of hidden layers
TABLES = 3  # different draws of 24 training rows, to average over


def perceptron(widths):
    layers, inputs = [], 1
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.Tanh()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


def rows(count, seed):
    return data.noisy_curve(count, noise=0.4, curve=lambda x: np.sin(2 * x), seed=seed)


print("hidden     parameters  training error  error on new rows    gap")
last = {}
for name, widths in SHAPES.items():
    errors = []
    for seed in range(TABLES):
        net = perceptron(widths)
        optimizer = optim.Adam(net.parameters(), lr=optim.Cosine(0.02))
        trainer = Trainer(net, losses.MSELoss(), optimizer, seed=seed, progress=False)
        trainer.fit(rows(24, seed), epochs=1200, batch_size=24)
        errors.append([trainer.evaluate(part)["loss"] for part in (rows(24, seed), rows(500, seed + 100))])
    trained, new = np.mean(errors, axis=0)
    size = sum(parameter.size for parameter in net.parameters())
    print(f"{name:10} {size:10}  {trained:14.3f}  {new:17.3f}  {new - trained:5.2f}")
    last[name] = trainer

try:
    picture, axes = plots.figure(1, len(last), size=(15, 3.2))
    for axis, (name, trainer) in zip(axes, last.items(), strict=True):
        plots.regression_fit(trainer.predict, *rows(24, TABLES - 1), axis, title=f"hidden {name}")
    with open("capacity.png", "wb") as file:
        file.write(plots.figure_png(picture))
    print("drawn: capacity.png")
except MissingExtraError as error:
    print(f"not drawn: {error}")
