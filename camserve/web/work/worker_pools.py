"""The threads that run the models: for usual requests, costly requests, jobs, and loading of models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from camserve.config.schema import Settings
    from camserve.system.workers import Workers
    from camserve.web.work.admission import Gate


@dataclass(frozen=True)
class Pools:
    """Costly requests, jobs and loading have their own threads. Those of costly requests and jobs have low priority.

    Threads of loading do not, because they create the engine that later serves usual requests.
    """

    usual: "Workers"
    costly: "Workers"
    jobs: "Workers"
    loading: "Workers"

    @classmethod
    def made(cls, gate: "Gate", settings: "Settings") -> Self:
        """Create as many threads as the gate lets work, and one more loading thread than models in memory.

        So a model that never finishes loading does not stop others.
        """
        from camserve.system.workers import Workers

        threads = settings.compute.threads
        usual, costly = Workers(gate.workers, threads), Workers(gate.costly_workers, threads, modest=True)
        jobs = Workers(gate.costly_workers, threads, modest=True)
        return cls(usual, costly, jobs, Workers(settings.serve.models + 1, threads))

    @property
    def is_stuck(self) -> bool:
        """Whether no usual request can be answered, because every thread runs abandoned work."""
        return self.usual.stuck >= self.usual.count

    def close(self) -> None:
        """Finish accepted tasks, and accept no new ones."""
        for pool in (self.usual, self.costly, self.jobs, self.loading):
            pool.close()
