"""So many requests and tokens a minute, where an account's limits are known."""

from lpt.models.patience import Waiter

_BURST_SECONDS = 5.0
"""What may go out at once after a quiet while: hosted servers count by less than a whole minute."""


class _Bucket:
    """An allowance that fills with time. It may go into debt, which the next ones wait out."""

    def __init__(self, a_minute: float) -> None:
        self._rate = a_minute / 60
        self._most = max(1.0, self._rate * _BURST_SECONDS)
        self._level = self._most
        self._at: float | None = None

    def take(self, amount: float, now: float) -> float:
        """Take so much; the seconds to wait before it is there."""
        if self._at is not None:
            self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        # What is more than the bucket holds goes out when the bucket is full.
        short = min(amount, self._most) - self._level
        self._level -= amount
        return max(0.0, short / self._rate)

    def give_back(self, amount: float) -> None:
        """So much less was needed; below zero, so much more."""
        self._level += amount


class Pace:
    """An account's limits. Tokens are guessed before a call, by what calls like it took, and put right after."""

    def __init__(self, requests: int, tokens: int, waiter: Waiter) -> None:
        """Begin.

        Args:
            requests: a minute; 0: no limit.
            tokens: a minute, prompt and reply; 0: no limit.
            waiter: waits.
        """
        self._requests = _Bucket(requests) if requests else None
        self._tokens = _Bucket(tokens) if tokens else None
        self._waiter = waiter
        self._usual: dict[str, float] = {}

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self._requests is not None or self._tokens is not None

    async def take(self, stage: str, n: int, guess: float) -> float:
        """Wait until a request may go out; the tokens that were reckoned for it.

        Args:
            stage: whose request it is: calls of a stage are alike.
            n: samples that it asks for.
            guess: tokens that it may take, for the first of its kind.

        Raises:
            Interrupted: the run is to stop.
        """
        now = self._waiter.clock.now()
        expected = self._usual.get(stage, guess / n) * n
        wait = self._requests.take(1, now) if self._requests else 0.0
        if self._tokens:
            wait = max(wait, self._tokens.take(expected, now))
        if wait > 0:
            await self._waiter.sleep(wait)
        return expected

    def took(self, stage: str, n: int, expected: float, tokens: int) -> None:
        """A request took so many tokens in truth; 0, where the server does not say."""
        if self._tokens and tokens:
            self._tokens.give_back(expected - tokens)
            usual = self._usual.get(stage, tokens / n)
            self._usual[stage] = 0.9 * usual + 0.1 * tokens / n
