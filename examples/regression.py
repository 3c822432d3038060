"""Regression: a curve through noisy points, by the squared error and by the absolute one, which outliers hurt less.

python examples/regression.py     (writes regression.png where Matplotlib is installed)
"""

import numpy as np

from anyfw import Trainer, data, losses, nn, optim
from anyfw.core.errors import MissingExtraError
from anyfw.report import plots


def curve(x):
    return np.sin(2 * x) + 0.3 * x


x, y = data.noisy_curve(rows=240, noise=0.15, curve=curve, seed=0)
y[::12] += 4.0  # outliers
points = np.linspace(-3, 3, 200)[:, None]

trainers = {}
for loss in (losses.MSELoss(), losses.L1Loss()):
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = optim.Adam(net.parameters(), lr=optim.Cosine(0.02))
    trainer = Trainer(net, loss, optimizer, metrics=["mae", "r2"], seed=0, progress=False)
    history = trainer.fit((x, y), epochs=150, batch_size=32)
    off = np.sqrt(np.mean((trainer.predict(points) - curve(points)) ** 2))
    print(f"{type(loss).__name__}: loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}, {off:.3f} off the curve")
    trainers[type(loss).__name__] = trainer

try:
    picture, axes = plots.figure(1, 2)
    for axis, (name, trainer) in zip(axes, trainers.items(), strict=True):
        plots.regression_fit(trainer.predict, x, y, axis, title=name)
        axis.plot(points, curve(points), ":", color="black", linewidth=1)
    with open("regression.png", "wb") as file:
        file.write(plots.figure_png(picture))
    print("drawn: regression.png")
except MissingExtraError as error:
    print(f"not drawn: {error}")
