"""The threads that own the models: of usual requests, of costly ones, of jobs, and of the loading of models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from camserve.config.schema import Settings
    from camserve.system.workers import Workers
    from camserve.web.work.admission import Gate


@dataclass(frozen=True)
class Pools:
    """Costly requests, jobs and loading have threads of their own. The first two give way where cores are short.

    Those of loading do not: what a model's engine runs on is made by them, for usual requests.
    """

    usual: "Workers"
    costly: "Workers"
    jobs: "Workers"
    loading: "Workers"

    @classmethod
    def made(cls, gate: "Gate", settings: "Settings") -> Self:
        """As many threads as the gate lets work; and one more for loading than there may be models in memory.

        A model that never ends to load stops no other.
        """
        from camserve.system.workers import Workers

        threads = settings.compute.threads
        usual, costly = Workers(gate.workers, threads), Workers(gate.costly_workers, threads, modest=True)
        jobs = Workers(gate.costly_workers, threads, modest=True)
        return cls(usual, costly, jobs, Workers(settings.serve.models + 1, threads))

    @property
    def is_stuck(self) -> bool:
        """Whether no usual request can be answered: every thread is at work that nobody waits for any more."""
        return self.usual.stuck >= self.usual.count

    def close(self) -> None:
        """Finish what was accepted, take nothing new."""
        for pool in (self.usual, self.costly, self.jobs, self.loading):
            pool.close()
