# %% [markdown]
# # A backend of one's own
#
# anyfw computes with whatever array library follows the Python Array API standard. Here is one that counts: its arrays
# hold NumPy's and hand on every operation, and a table tells afterwards what a training step asks of an array library.
#
#     python examples/custom_backend.py

# %%
from collections import Counter

import numpy as np

import anyfw
from anyfw import Trainer, data, inspect, losses, nn, optim

calls: Counter[str] = Counter()

# %% [markdown]
# ## An array
#
# The standard asks for a few properties, operators, indexing, and `__array_namespace__`, where the functions are.


# %%
class Counted:
    """A NumPy array whose operations are counted."""

    def __init__(self, values):
        self.values = values

    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    size = property(lambda self: self.values.size)
    dtype = property(lambda self: self.values.dtype)
    device = "counting"
    __array_ufunc__ = None  # NumPy's numbers leave `2.0 * x` to x
    T = property(lambda self: Counted(self.values.T))
    mT = property(lambda self: Counted(self.values.mT))

    def __array_namespace__(self, *, api_version=None):
        return namespace

    def __getitem__(self, key):
        calls["[...]"] += 1
        return wrapped(self.values[unwrapped(key)])

    def __setitem__(self, key, value):
        calls["[...] ="] += 1
        self.values[unwrapped(key)] = unwrapped(value)

    def __bool__(self):
        return bool(self.values)

    def __float__(self):
        return float(self.values)

    def __int__(self):
        return int(self.values)

    __index__ = __int__


def wrapped(result):
    if isinstance(result, tuple | list):
        return type(result)(map(wrapped, result))
    return Counted(np.asarray(result)) if isinstance(result, np.ndarray | np.generic) else result


def unwrapped(value):
    if isinstance(value, tuple | list):
        return type(value)(map(unwrapped, value))
    return value.values if isinstance(value, Counted) else value


def counted(name, function):
    def call(*args, **options):
        calls[name] += 1
        options.pop("device", None)
        return wrapped(function(*map(unwrapped, args), **{key: unwrapped(value) for key, value in options.items()}))

    return call


OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
REFLECTED = tuple(f"r{name}" for name in OPERATORS)
OTHERS = ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert")
for name in (*OPERATORS, *REFLECTED, *OTHERS):
    setattr(Counted, f"__{name}__", counted(name, getattr(np.ndarray, f"__{name}__")))


def in_place(name):
    operate = getattr(np.ndarray, f"__i{name}__")

    def call(self, other):
        calls[f"{name} in place"] += 1
        operate(self.values, unwrapped(other))
        return self

    return call


for name in OPERATORS:
    setattr(Counted, f"__i{name}__", in_place(name))

# %% [markdown]
# ## Its namespace
#
# All of the standard's functions, by their names; here NumPy has them. What is no function (dtypes, `pi`) is handed on.


# %%
class Namespace:
    def __getattr__(self, name):
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found) or name in ("finfo", "iinfo", "isdtype", "result_type"):
            return found
        return counted(name, found)


namespace = Namespace()

# %% [markdown]
# ## The backend
#
# It tells where arrays come from and how they get back to the host. Published by a package under the entry-point group
# `anyfw.backends`, it is found as `ANYFW_BACKEND=counting`:
#
#     [project.entry-points."anyfw.backends"]
#     counting = "my_package:Backend"


# %%
class Backend(anyfw.Backend):
    name = spec = package = "counting"
    fix = "nothing to install"
    xp = namespace
    device = "counting"

    def __init__(self, device=None):
        pass

    @classmethod
    def version(cls):
        return np.__version__

    @classmethod
    def devices(cls):
        return ("counting",)

    def to_numpy(self, x):
        return x.values

    def owns(self, x):
        return isinstance(x, Counted)


# %% [markdown]
# ## Is it right?
#
# `inspect.verify` runs a net on both backends, forward and backward, and names the first layer that differs.

# %%
x, y = data.moons(256, noise=0.2, seed=0)


def make():
    return nn.Sequential(nn.Linear(2, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 2))


print(inspect.verify(make(), backends=["numpy", Backend()]))


# %% [markdown]
# ## What does a step ask for?
#
# The whole of a training runs on it, and gives what NumPy gives.


# %%
def train(backend):
    net = make()
    trainer = Trainer(net, losses.CrossEntropyLoss(), optim.Adam(net.parameters()), backend=backend, progress=False)
    return trainer.fit((x, y), epochs=2, batch_size=64)["loss"][-1]


with_numpy = train("numpy")
calls.clear()
with_counting = train(Backend())
print(f"loss {with_counting:.6f}, on NumPy {with_numpy:.6f}")
print(f"{calls.total() / 8:.0f} calls a step; most often:")
for name, count in calls.most_common(8):
    print(f"{name:>14}  {count / 8:5.1f}")
