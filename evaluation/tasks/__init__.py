"""The tasks: their questions, labels and contenders.

A model competes by standing in its task's `contenders`, under the name that `--model` takes.
"""

from collections.abc import Mapping
from types import MappingProxyType

from lyo.evaluation.tasks.dropout import DropoutTask
from lyo.evaluation.tasks.plateau import PlateauTask
from lyo.evaluation.tasks.recall import RecallTask
from lyo.evaluation.tasks.regression import RegressionTask
from lyo.evaluation.tasks.struggle import StruggleTask
from lyo.evaluation.tasks.task import Options, Task
from lyo.evaluation.tasks.timing import TimingTask

__all__ = ["TASKS", "Options", "Task"]

TASKS: Mapping[str, type[Task]] = MappingProxyType(
    {
        each.name: each
        for each in (StruggleTask, RecallTask, DropoutTask, TimingTask, PlateauTask, RegressionTask)
    }
)
