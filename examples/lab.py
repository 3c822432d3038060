# %% [markdown]
# # The lab: a lesson's questions, answered by trainings
#
# Does the activation matter? How many layers does MNIST need? Why is depth trouble? What happens to the weights? The
# lab trains the nets that answer, and writes one page with the pictures. Here it is the quick one, on the small digits
# inside the package, to see how it works; `anyfw lab` does the whole on MNIST, in minutes.
#
#     python examples/lab.py            (needs Matplotlib; writes into a folder that it removes)

# %%
import logging
import sys
import tempfile
from pathlib import Path

from anyfw.core.errors import MissingExtraError
from anyfw.report import lab

# %%
logging.getLogger("anyfw").setLevel("ERROR")  # the nets without an activation, which a Trainer warns of, are meant so

with tempfile.TemporaryDirectory() as folder:
    try:
        found = lab.run(folder, quick=True, seed=0, progress=False)
    except MissingExtraError as error:
        sys.exit(f"The lab draws: {error}")
    page = Path(folder, lab.PAGE).read_text(encoding="utf-8")

# %% [markdown]
# ## Each question, with its answer and numbers

# %%
for one in found["answers"].values():
    print(f"{one['question']}\n    {one['answer']}\n")

# %% [markdown]
# ## Each training is there as numbers too
#
# "grid" holds one entry for each activation, depth and learning rate, with what was measured by epoch.

# %%
best = max((run for run in found["grid"] if not run["diverged"]), key=lambda run: run["valid_accuracy"])
print("best of the grid:", best["setting"], f"{best['test_accuracy']:.1%} of the test rows")
print(f"the page: {len(page) // 1024} KB in one file, {page.count('<img')} pictures")
