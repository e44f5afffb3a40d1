"""A load generator for `adroit serve`, which reports rates, times and errors. Python's own library only.

    python examples/load.py street street.png --rate 50 --seconds 20      # open: requests do not wait for answers
    python examples/load.py street street.png --clients 8 --seconds 20    # closed: the next one after each answer

With --rate, requests arrive as a Poisson process (--seed replays it), and a request's time counts from when it
was due: a server that stalls is not spared the requests that would have come meanwhile. --query adds a budget.
"""

from __future__ import annotations

import argparse
import http.client
import json
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

# Requests of an open load that may be on their way at a time; others wait, and their time runs.
CONNECTIONS = 128
# Times of requests in seconds after the start; None ends a client.
Due = queue.SimpleQueue[float | None]


@dataclass
class Outcome:
    """The milliseconds of every answered request, and the number of others by kind of error."""

    milliseconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Yield the arrivals of a Poisson process with `rate` a second, in seconds after the start."""
    source = random.Random(seed)
    due = source.expovariate(rate)
    while due < seconds:
        yield due
        due += source.expovariate(rate)


class Client(threading.Thread):
    """A client with one connection: sends at the times of the queue `due`, or without pause where that is None."""

    def __init__(
        self, chosen: argparse.Namespace, image: bytes, start: float, due: queue.SimpleQueue[float | None] | None
    ):
        super().__init__(daemon=True)
        self._server, self._seconds = urlsplit(chosen.server), chosen.timeout
        self._path = f"/v2/models/{chosen.model}/predict?{chosen.query}"
        self._headers = (
            {"Authorization": f"Bearer {chosen.token_file.read_text().strip()}"} if chosen.token_file else {}
        )
        self._image, self._start, self._end, self._due = image, start, start + chosen.seconds, due
        self._connection = self._connect()
        self.outcome = Outcome()

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._server.scheme == "https" else http.client.HTTPConnection
        return kind(self._server.hostname or "", self._server.port, timeout=self._seconds)

    def run(self) -> None:
        """Send requests until the times are over."""
        for begun in self._times():
            kind = self._send()
            if kind == "ok":
                self.outcome.milliseconds.append((time.perf_counter() - begun) * 1000)
            else:
                self.outcome.errors[kind] += 1

    def _times(self) -> Iterator[float]:
        """Yield when each request counts from, after waiting until then."""
        if self._due is None:
            while (now := time.perf_counter()) < self._end:
                yield now
            return
        while (due := self._due.get()) is not None:
            time.sleep(max(0.0, self._start + due - time.perf_counter()))
            yield self._start + due

    def _send(self) -> str:
        """Send one request; return "ok", or the error."""
        try:
            self._connection.request("POST", self._path, self._image, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except TimeoutError:
            kind = f"no answer within {self._seconds:g} s"
        except (OSError, http.client.HTTPException) as error:
            kind = type(error).__name__
        else:
            return "ok" if response.status == 200 else f"{response.status} {content.decode(errors='replace')}"
        self._connection.close()  # the next request opens it again
        return kind


def load(chosen: argparse.Namespace, image: bytes) -> tuple[Outcome, float]:
    """Run the load; return the outcome of all clients together, and the seconds that it took."""
    start = time.perf_counter()
    due: Due | None = queue.SimpleQueue() if chosen.rate else None
    clients = [Client(chosen, image, start, due) for _ in range(CONNECTIONS if chosen.rate else chosen.clients)]
    if due is not None:
        for moment in arrivals(chosen.rate, chosen.seconds, chosen.seed):
            due.put(moment)
        for _ in clients:
            due.put(None)
    for client in clients:
        client.start()
    total = Outcome()
    for client in clients:
        client.join()
        total.milliseconds += client.outcome.milliseconds
        total.errors += client.outcome.errors
    return total, time.perf_counter() - start


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the sorted values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(outcome: Outcome, seconds: float) -> dict[str, object]:
    """Return rates, times and errors as JSON values."""
    ordered = sorted(outcome.milliseconds)
    summary: dict[str, object] = {
        "answered": len(ordered),
        "failed": sum(outcome.errors.values()),
        "seconds": round(seconds, 3),
        "answers_a_second": round(len(ordered) / seconds, 2),
    }
    if ordered:
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
        milliseconds = {name: round(percentile(ordered, share), 3) for name, share in shares.items()}
        summary["milliseconds"] = {**milliseconds, "maximum": round(ordered[-1], 3)}
    return summary | {"errors": dict(outcome.errors.most_common())}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("image", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--rate", type=float, help="requests a second, on average")
    how.add_argument("--clients", type=int, help="clients that send one request after the other")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for an answer")
    parser.add_argument("--query", default="", help="what the address says, such as gflops=0.26")
    parser.add_argument("--token-file", type=Path)
    chosen = parser.parse_args()
    print(json.dumps(report(*load(chosen, chosen.image.read_bytes())), indent=2))


if __name__ == "__main__":
    main()
