"""Classes that are not linearly separable: three spirals, told apart without and with hidden layers.

python examples/spirals.py        (writes spirals.png where Matplotlib is installed)
"""

from anyfw import Trainer, data, losses, nn, optim
from anyfw.core.errors import MissingExtraError
from anyfw.report import plots

x, y = data.spirals(rows=900, classes=3, noise=0.03, seed=0)
train, test = data.split(x, y, fraction=0.2, seed=0, stratify=True)
nets = {
    "one linear layer": nn.Sequential(nn.Linear(2, 3)),
    "two hidden layers": nn.Sequential(
        nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)
    ),
}  # fmt: skip

trainers, accuracies = {}, {}
for name, net in nets.items():
    optimizer = optim.Adam(net.parameters(), lr=0.02)
    trainer = Trainer(net, losses.CrossEntropyLoss(), optimizer, metrics=["accuracy"], seed=0, progress=False)
    trainer.fit(train, epochs=60, batch_size=32)
    trainers[name], accuracies[name] = trainer, trainer.evaluate(test)["accuracy"]
    print(f"{name:17}  test accuracy {accuracies[name]:.1%}")

try:
    picture, axes = plots.figure(1, 2)
    for axis, (name, trainer) in zip(axes, trainers.items(), strict=True):
        plots.decision_boundary(trainer.predict, *test, axis, title=f"{name}: {accuracies[name]:.0%}")
    with open("spirals.png", "wb") as file:
        file.write(plots.figure_png(picture))
    print("drawn: spirals.png")
except MissingExtraError as error:
    print(f"not drawn: {error}")
