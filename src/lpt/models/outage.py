"""What is done while a server is down: the run waits, says so, and goes on by itself."""

from collections.abc import Callable

from lpt.errors import Down, ModelError
from lpt.models.patience import Waiter
from lpt.models.replicas import Replica, Replicas
from lpt.models.trouble import Trouble

_WORTH_SAYING = 2.0
"""Seconds that a server will have been down before it is tried again, from which on somebody is told."""


class Outages:
    """Watches over the servers of one model."""

    def __init__(
        self, replicas: Replicas, waiter: Waiter, name: str, patience: float, say: Callable[[str], None]
    ) -> None:
        """Begin.

        Args:
            replicas: whose circuits these are.
            waiter: waits.
            name: what the recipe calls the model.
            patience: seconds that are waited while all servers are down; 0: for ever.
            say: is told what the run waits for, and when it goes on.
        """
        self._replicas = replicas
        self._waiter = waiter
        self._name = name
        self._patience = patience
        self._say = say
        self._said: set[Replica] = set()

    async def up(self, replica: Replica) -> bool:
        """Wait until a server may be asked; False: another one should be.

        Raises:
            Down: it has been down for longer than anybody wants to wait.
            Interrupted: the run is to stop.
        """
        circuit = replica.circuit
        while circuit.open:
            # What never answered is asked as often as anything that fails, and then given up: see to its URL.
            if not circuit.reached and not self._replicas.has_another((replica,)):
                return True
            if circuit.due:
                circuit.probe()
                return True
            if self._replicas.has_another((replica,)):
                return False
            if self._patience and circuit.lasted >= self._patience:
                raise self._given_up(replica)
            if circuit.changed:
                await self._waiter.until(circuit.changed)
            else:
                await self._waiter.sleep(circuit.wait)
        return True

    def failed(self, replica: Replica, trouble: Trouble, who: str) -> bool:
        """A request went unanswered: is it the server's fault alone, so that it was no attempt of its own?"""
        circuit = replica.circuit
        if not trouble.down:
            self.answered(replica)
            return False
        # A server that says it is not ready is there; a proxy that says so may be a wrong URL.
        circuit.reached = circuit.reached or trouble.error.kind == "http-503"
        was, tries = circuit.open, circuit.tries
        circuit.failed(trouble, who)
        if circuit.open and not was:
            self._replicas.make_room()
        if circuit.reached and circuit.tries > tries and circuit.lasted + circuit.wait >= _WORTH_SAYING:
            self._tell(replica)
        return circuit.open and circuit.reached and trouble.absent

    def answered(self, replica: Replica) -> None:
        """A server answered, if only to refuse."""
        circuit = replica.circuit
        if not circuit.open:
            if not circuit.reached or circuit.shaky:
                circuit.answered()
            return
        lasted = circuit.lasted
        circuit.answered()
        self._replicas.make_room()
        if replica in self._said:
            self._said.discard(replica)
            self._say(f"{self._called(replica)} is back after {lasted:,.0f} s; the run goes on")

    def _tell(self, replica: Replica) -> None:
        circuit = replica.circuit
        self._said.add(replica)
        others = self._replicas.has_another((replica,))
        what = "the others go on" if others else "the run waits. Ctrl-C stops it; the same command goes on"
        self._say(
            f"{self._called(replica)} is down since {circuit.since_when} ({circuit.error}). It is tried again in "
            f"{circuit.wait:,.0f} s; {what}"
        )

    def _given_up(self, replica: Replica) -> ModelError:
        circuit = replica.circuit
        assert circuit.error
        return Down(
            f"{self._called(replica)} has been down since {circuit.since_when}, for {circuit.lasted / 60:,.0f} min "
            f"(models.{self._name}.patience). The last try: {circuit.error}\n"
            "What was answered is kept: see to the server, then run the same command again.",
            kind=circuit.error.kind,
        )

    def _called(self, replica: Replica) -> str:
        return self._name if len(self._replicas.all) == 1 else f"{self._name} at {replica.shown}"
