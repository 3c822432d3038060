"""MNIST: a perceptron with two hidden layers reads handwritten digits.

python examples/mnist.py
"""

import sys

import numpy as np

from anyfw import AnyfwError, Trainer, data, losses, nn, optim

try:
    mnist = data.load("mnist")
except AnyfwError as error:
    sys.exit(f"No MNIST here, so nothing was trained.\n{error}")

x, y = mnist.train
train, valid = data.split(x, y, fraction=0.1, seed=0, stratify=True)

net = nn.Sequential(
    nn.Rescale(mnist.scale, mnist.shift),  # pixels 0 ... 255 to 0 ... 1, as part of the net
    nn.Linear(mnist.features, 256),
    nn.ReLU(),
    nn.Linear(256, 128),
    nn.ReLU(),
    nn.Linear(128, mnist.outputs),
)
optimizer = optim.Adam(net.parameters(), lr=optim.OneCycle(3e-3))
trainer = Trainer(net, losses.CrossEntropyLoss(), optimizer, metrics=["accuracy"], seed=0, progress=True)
trainer.fit(train, valid, epochs=5, batch_size=128)

x_test, y_test = mnist.test
print(f"test accuracy {trainer.evaluate((x_test, y_test))['accuracy']:.2%} on {len(x_test)} images")

wrong = np.flatnonzero(trainer.predict(x_test, kind="label") != y_test)
print(f"{len(wrong)} mistakes; the first one, read as {trainer.predict(x_test[wrong[:1]], kind='label')[0]}:")
for row in x_test[wrong[0]].reshape(mnist.image_shape)[4:24:2]:
    print("".join(" .:*#"[value // 52] for value in row))
