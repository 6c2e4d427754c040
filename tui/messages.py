"""What workers and other threads tell the main loop. Handlers there own all state."""

from textual.message import Message

from scheduler.readmodel import ActionRequest, Board


class BoardRead(Message):
    """A read has ended well. done: which of our own actions have been folded in."""

    def __init__(self, board: Board, done: frozenset[str]) -> None:
        super().__init__()
        self.board, self.done = board, done


class ReadFailed(Message):
    """A read has failed."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class ActionKept(Message):
    """An action is stored; it counts once the paging loop has folded it in."""

    def __init__(self, request: ActionRequest) -> None:
        super().__init__()
        self.request = request


class ActionFailed(Message):
    """An action could not be stored, or it is not known whether it was."""

    def __init__(self, request: ActionRequest, why: str) -> None:
        super().__init__()
        self.request, self.why = request, why
