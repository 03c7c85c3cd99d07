"""Prompts in the one-string style of Microsoft's processor, which the oracle files hold."""

from __future__ import annotations

from f2edge.errors import TaskError
from f2edge.tasks.table import FREE_TEXT, TASKS, Task


def expand_prompt(prompt: str) -> tuple[Task, str]:
    """Expand a prompt such as ``<OPEN_VOCABULARY_DETECTION>car`` as Microsoft's code does.

    The task's name may stand anywhere in the prompt; what is left is not stripped.  A prompt without a task's name
    passes unchanged as ``FREE_TEXT``.

    Raises:
        TaskError: a task without input is not the whole prompt.
    """
    for task in sorted(TASKS.values(), key=lambda task: task.input != "none"):
        if task.name in prompt:
            return task, _expand(task, prompt)
    return FREE_TEXT, prompt


def _expand(task: Task, prompt: str) -> str:
    given = prompt.replace(task.name, "")
    if task.input == "none" and prompt != task.name:
        raise TaskError(f"{task.name} takes no input: it must be the whole prompt, without {given!r}")
    return task.prompt.replace("{input}", given)
