# %% [markdown]
# # Tables: from raw columns to predictions on raw rows
#
# A table has numbers on different scales, categories, gaps. `data.read_table` looks at the columns, says what it takes
# them for, and makes rows for a net of them; what it learnt goes into the model, so that new rows come in as they are.
# On the command line the same is `anyfw train flats.csv --target rent` and `anyfw predict runs/flats new.csv`.
#
#     python examples/tabular.py        (needs polars: pip install 'anyfw[tables]')

# %%
import sys
import tempfile
from pathlib import Path

import numpy as np

import anyfw
from anyfw import Trainer, data, losses, nn, optim
from anyfw.core.errors import MissingExtraError

# %% [markdown]
# ## A table
#
# Made up: the rent of a flat hangs on its area, its town and whether there is a lift, if it is not on the ground floor.
# A path of a .csv or .parquet file, or a frame of polars or pandas, is taken just the same.

# %%
rng, rows = np.random.default_rng(0), 2000
town = rng.choice(["Oslo", "Rome", "Bern"], rows)
area, floor, lift = rng.gamma(6.0, 12.0, rows), rng.integers(0, 6, rows), rng.random(rows) < 0.5
per_metre = np.select([town == "Oslo", town == "Rome"], [18.0, 13.0], 22.0)
rent = per_metre * area + np.where(lift, 0.0, -30.0) * floor + rng.normal(0.0, 20.0, rows)
gap = rng.random(rows) < 0.1
flats = {
    "area": [None if missing else value for value, missing in zip(area.round(1).tolist(), gap, strict=True)],
    "town": town.tolist(),
    "floor": floor.tolist(),
    "lift": lift.tolist(),
    "rent": rent.round(2).tolist(),
}

# %% [markdown]
# ## What the columns are taken for
#
# Each is told in one line. Numbers are standardised by the training rows, categories get a place each, and where a
# number is missing a column beside it says so. Dates and running numbers would be refused or left out, with advice.

# %%
try:
    table = data.read_table(flats, target="rent", valid=0.1)
except MissingExtraError as error:
    sys.exit(f"Tables are read by polars: {error}")
print("\n".join(table.notes))

# %% [markdown]
# ## The net
#
# Its first layer takes numbers as they are and gives each category a one-hot row, or a learnt vector where there are
# many. Its last one, `Rescale`, brings the outputs to the target's own units.

# %%
first = nn.CategoryColumns(*table.columns.layout)
scale, shift = table.train[1].std(axis=0), table.train[1].mean(axis=0)
net = nn.Sequential(first, nn.Linear(first.out_features, 64), nn.GELU(), nn.Linear(64, 1), nn.Rescale(scale, shift))
optimizer = optim.AdamW(net.parameters(), lr=optim.OneCycle(0.01))
trainer = Trainer(net, losses.StandardizedMSELoss(scale), optimizer, metrics=["rmse"], progress=False)
trainer.fit(table.train, table.valid, epochs=30, batch_size=64)
x, y = table.test
whole = x[:, 3] == 0.0  # the column beside the area, which tells where it is missing
for name, part in (("all", whole | True), ("those with an area", whole)):
    found = trainer.evaluate((x[part], y[part]))["rmse"]
    print(f"{name}: off by {found:.0f}, the mean by {np.std(y[part]):.0f}; the noise alone is 20")

# %% [markdown]
# ## New rows, as they come
#
# In another order, with a gap and a town that nobody knows: the model file holds all that is needed.

# %%
net.metadata = {"columns": table.columns.to_config()}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "flats.safetensors")
    net.save(path)
    again = anyfw.load(path)
columns = data.Columns.from_config(again.metadata["columns"])
new = {"town": ["Bern", "Rome", "Paris"], "floor": [0, 3, 1], "lift": [True, False, True], "area": [50.0, None, 80.0]}
for i, (one,) in enumerate(again.backend.to_numpy(again(again.backend.asarray(columns.encode(new)))).tolist()):
    print(", ".join(f"{name} {values[i]}" for name, values in new.items()), f"-> {one:.0f}")
