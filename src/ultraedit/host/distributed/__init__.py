"""Several processes on one job, as `torchrun` starts them: who is there, and who does what.

The first process runs the program. Every other one keeps a copy of some object, such as the model
with its edited weights, and does its share of what the first one asks of it. Nobody but the first
reads the command line, writes a file, draws a random number or decides anything, so there is
nothing that processes could disagree about. A process that torchrun has not started is alone:
nothing here is imported, waited for or sent then.

Everything travels through torch.distributed: tensors by gloo on CPUs and by NCCL between GPUs.
"""

from ultraedit.host.distributed.processes import is_first, rank, size
from ultraedit.host.distributed.startup import joined, require_device
from ultraedit.host.distributed.workers import Copies, in_order, split, worker_loop

__all__ = [
    "Copies",
    "in_order",
    "is_first",
    "joined",
    "rank",
    "require_device",
    "size",
    "split",
    "worker_loop",
]
