"""A process of its own that is asked through pipes: a JSON text a line goes in, lines or bytes come out."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from sciml.data._files import import_paths

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import serve; serve(int(sys.argv[2]))"


class Helper:
    """A running process, which ends with this one or by `close`.

    It has none of the settings by which HDF5 would load code, and nothing of the user's but where modules are.

    Args:
        module: whose `serve(memory)` it runs.
        memory: bytes of address space that it may use.
    """

    def __init__(self, module: str, memory: int) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HDF5_")}
        environment |= {"HDF5_PLUGIN_PRELOAD": "::", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.owner = os.getpid()
        self.ready = False  # whether it has said so, where it does
        self._left = b""
        self.process = subprocess.Popen(
            [sys.executable, "-E", "-s", "-c", _START.format(module), json.dumps(import_paths()), str(memory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/",
        )  # fmt: skip

    @property
    def usable(self) -> bool:
        """Whether it runs, and is this process's own and not that of the one that forked it."""
        return self.owner == os.getpid() and self.process.poll() is None

    def send(self, content: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(content).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, count: int, deadline: float) -> bytes:
        """So many bytes.

        Raises:
            TimeoutError: `deadline` of the monotonic clock is past. EOFError: the process ended.
        """
        parts, missing = [self._left[:count]], count - len(self._left[:count])
        self._left = self._left[count:]
        while missing:
            parts.append(self._some(missing, deadline))
            missing -= len(parts[-1])
        return b"".join(parts)

    def line(self, deadline: float) -> Any:
        """The next JSON text; raises as `receive` does."""
        while b"\n" not in self._left:
            self._left += self._some(1 << 20, deadline)
        line, _, self._left = self._left.partition(b"\n")
        return json.loads(line)

    def _some(self, most: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        waiting = select.poll()  # not select.select, which is limited to 1024 open files
        waiting.register(fd, select.POLLIN | select.POLLHUP)
        left = deadline - time.monotonic()
        if left <= 0 or not waiting.poll(left * 1000):
            raise TimeoutError
        part = os.read(fd, min(most, 1 << 20))
        if not part:
            raise EOFError
        return part

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass
