// What takes longer than a request may runs as a job: begun, asked after, fetched, and ended where nobody waits any more.

// Milliseconds between two looks at how far it is.
const LOOK = 400;

// The answer to an explanation that is asked for; what takes longer than one answer may is run as a job. asJob: whether
// that is known before. address: of jobs; "": none are taken. The rest as of `runJob`.
export async function answered(service, address, { asJob, ...asked }) {
  const { photo, options, signal } = asked;
  const job = () => runJob(service, address, { ...asked, accept: "application/json" });
  if (asJob) return job();
  try {
    return await service.ask(photo, "application/json", options, signal);
  } catch (error) {
    if (!address || !["too_long", "deadline_passed"].includes(error.code)) throw error;
    return job();
  }
}

// service: a Service. address: of jobs. told(job): how far it is; null: it waits.
// Gives the answer of the service; throws what it says, as Service.ask does, and ends the job where `signal` aborts.
export async function runJob(service, address, { photo, accept, options, signal, told }) {
  const begun = await service.ask(photo, "application/json", options, signal, address, { whole: true });
  const where = begun.headers.get("Location");
  // also while the page is left: a job that nobody will fetch holds up others
  const end = () => fetch(where, { method: "DELETE", keepalive: true }).catch(() => {});
  signal.addEventListener("abort", end, { once: true });
  addEventListener("pagehide", end, { once: true });
  try {
    if (signal.aborted) end();
    signal.throwIfAborted();
    for (let job = await begun.json(); ; job = await (await got(where, {}, signal)).json()) {
      if (job.state !== "waiting" && job.state !== "running") break;
      told(job.state === "waiting" ? null : job);
      await new Promise((resolve) => setTimeout(resolve, LOOK));
      signal.throwIfAborted();
    }
    return await got(`${where}/result`, { Accept: accept }, signal);
  } finally {
    signal.removeEventListener("abort", end);
    removeEventListener("pagehide", end);
  }
}

async function got(address, headers, signal) {
  const response = await fetch(address, { headers, signal });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: `The service answered ${response.status}.` }));
  throw Object.assign(new Error(problem.detail), problem);
}
