# %% [markdown]
# # From PyTorch, and back
#
# Names, shapes and defaults are PyTorch's, so that weights go both ways, and files of `torch.save` are read without
# PyTorch, by a machine that runs no code.
#
#     python examples/from_pytorch.py   (needs PyTorch: pip install 'anyfw[torch]')

# %%
import sys
import tempfile
from pathlib import Path

import numpy as np

from anyfw import Trainer, data, losses, nn, optim
from anyfw.interop import torch as interop

try:
    import torch
except ImportError:
    sys.exit("There is no PyTorch here: pip install 'anyfw[torch]'")

# %% [markdown]
# ## A net of PyTorch as one of anyfw
#
# `from_module` takes a `torch.nn.Sequential` of known layers, with its weights. What anyfw lacks is refused by name.

# %%
torch.manual_seed(0)
module = torch.nn.Sequential(
    torch.nn.Linear(64, 32),
    torch.nn.BatchNorm1d(32),
    torch.nn.GELU(),
    torch.nn.Dropout(0.1),
    torch.nn.Linear(32, 10),
).eval()
digits = data.load("digits")
x = (digits.train[0] / 16).astype("float32")
net = interop.from_module(module)
with torch.no_grad():
    expected = module(torch.from_numpy(x)).numpy()
print(f"largest difference of the outputs: {np.abs(net(x) - expected).max():.1e}")

# %% [markdown]
# ## A file of `torch.save`, read without PyTorch
#
# The usual checkpoint is a dict with the weights in it. `read` gives it back with NumPy's arrays; whatever is no plain
# value or tensor is refused, so that a file from anywhere may be looked at.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "checkpoint.pt")
    torch.save({"model": module.state_dict(), "epoch": 3}, path)
    checkpoint = interop.read(path)
print("epoch", checkpoint["epoch"], {name: array.shape for name, array in checkpoint["model"].items()})

# %% [markdown]
# ## Trained here, and taken back

# %%
net = nn.Sequential(
    nn.Linear(64, 32),
    nn.BatchNorm1d(32),
    nn.GELU(),
    nn.Dropout(0.1),
    nn.Linear(32, 10),
)
interop.load_state_dict(net, checkpoint["model"])
trainer = Trainer(net, losses.CrossEntropyLoss(), optim.AdamW(net.parameters(), lr=0.01), progress=False)
trainer.fit((x, digits.train[1]), epochs=10, batch_size=64)
module.load_state_dict(interop.state_dict(net))
test = (digits.test[0] / 16).astype("float32")
with torch.no_grad():
    said = module(torch.from_numpy(test)).argmax(dim=1).numpy()
same = np.array_equal(said, trainer.predict(test, kind="label"))
print(f"PyTorch, with our weights: {np.mean(said == digits.test[1]):.1%} right, {'as' if same else 'NOT as'} here")

# %% [markdown]
# ## The same memory
#
# Arrays and tensors share memory by DLPack: what is written into the one is seen in the other.

# %%
array = np.zeros(3, dtype="float32")
interop.as_tensor(array)[1] = 7.0
print("written through the tensor:", array.tolist())
