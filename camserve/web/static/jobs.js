// Explanations that take longer than one request runs as jobs. The page starts a job, asks for its state, fetches the result,
// and cancels the job when nobody waits for it.

// Milliseconds between two requests for the state of a job.
const LOOK = 400;

// Gives the answer to an explanation. An explanation that takes too long for one request runs as a job. asJob: whether this
// is known in advance. address: the address of jobs; "": the service takes no jobs. The rest is as in `runJob`.
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

// service: a Service. address: the address of jobs. told(job): called with the state of the job; null: the job waits.
// Gives the answer of the service. Throws the same errors as Service.ask, and cancels the job when `signal` aborts.
export async function runJob(service, address, { photo, accept, options, signal, told }) {
  const begun = await service.ask(photo, "application/json", options, signal, address, { whole: true });
  const where = begun.headers.get("Location");
  // also when the user leaves the page: other jobs would wait for a job that nobody fetches
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
