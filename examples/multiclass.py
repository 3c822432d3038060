"""Classification into many classes: one linear layer and softmax cross-entropy, by plain gradient descent.

python examples/multiclass.py     (writes multiclass.png where Matplotlib is installed)
"""

from anyfw import Trainer, data, losses, metrics, nn, optim
from anyfw.core.errors import MissingExtraError
from anyfw.report import plots

x, y = data.blobs(rows=1000, classes=5, spread=1.5, seed=5)
train, test = data.split(x, y, fraction=0.2, seed=0, stratify=True)

net = nn.Sequential(nn.Rescale(*data.fit_rescale(train[0])), nn.Linear(2, 5))
optimizer = optim.SGD(net.parameters(), lr=0.5)
measures = [metrics.Accuracy(), metrics.ConfusionMatrix()]
trainer = Trainer(net, losses.CrossEntropyLoss(), optimizer, metrics=measures, seed=0, progress=False)
history = trainer.fit(train, epochs=30, batch_size=32)

result = trainer.evaluate(test)
print(f"training loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}")
print(f"test accuracy {result['accuracy']:.1%}; rows are true classes, columns predicted ones:")
for row in result[measures[1].name]:
    print("".join(f"{int(count):5}" for count in row))

try:
    axis = plots.decision_boundary(trainer.predict, *test, title="Softmax regression: straight borders")
    with open("multiclass.png", "wb") as file:
        file.write(plots.figure_png(axis.figure))
    print("drawn: multiclass.png")
except MissingExtraError as error:
    print(f"not drawn: {error}")
