/** Proves a setup: the runtime pulls a small image, and the agent must have been asked for it. */
import { spawn } from 'node:child_process';
import { oneLine } from '../command-failure.ts';
import { parseMetrics, sumOf } from '../demo/prometheus.ts';

const PULL_WITHIN_MS = 120_000;
const METRICS_WITHIN_MS = 5_000;
const MAX_OUTPUT = 4_096;

export interface Probe {
  image: string;
  /** Tried in order; the first program that is installed runs. */
  commands: readonly (readonly string[])[];
  /** What is usually wrong when the runtime pulls past the agent. */
  past: string;
}

export type ProbeResult =
  | { proven: true; command: string; requests: number }
  | { proven: false; command: string | undefined; why: string };

/** @param admin `HOST:PORT` of the agent */
export async function runProbe({ image, commands, past }: Probe, admin: string): Promise<ProbeResult> {
  const before = await requestsAt(admin);
  if (before === undefined) {
    return {
      proven: false,
      command: undefined,
      why: `no agent answers at ${admin}; start it: shoal agent (or name its --admin)`,
    };
  }
  for (const args of commands) {
    const ended = await pull(args);
    if (ended === undefined) continue;
    const command = args.join(' ');
    if (ended.code !== 0) return { proven: false, command, why: `the pull failed: ${lastLine(ended.output)}` };
    const requests = ((await requestsAt(admin)) ?? before) - before;
    if (requests > 0) return { proven: true, command, requests };
    return { proven: false, command, why: `${image} was pulled, but past the agent: ${past}` };
  }
  const programs = commands.map(([program]) => program).join(' nor ');
  return {
    proven: false,
    command: undefined,
    why: `neither ${programs} is installed here; pull an image, then look at http://${admin}/metrics`,
  };
}

/** Requests that the agent's mirror answered well; undefined when no agent answers. */
async function requestsAt(admin: string): Promise<number | undefined> {
  try {
    const answer = await fetch(`http://${admin}/metrics`, { signal: AbortSignal.timeout(METRICS_WITHIN_MS) });
    if (!answer.ok) return undefined;
    const samples = parseMetrics(await answer.text());
    return ['manifest', 'blob'].reduce(
      (sum, kind) => sum + sumOf(samples, 'shoal_mirror_requests_total', { kind, result: 'ok' }),
      0,
    );
  } catch {
    return undefined;
  }
}

/** Undefined when the program is not installed. */
function pull([program = '', ...args]: readonly string[]): Promise<
  { code: number | null; output: string } | undefined
> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: PULL_WITHIN_MS });
    let output = '';
    const take = (chunk: Buffer): void => {
      output = (output + chunk).slice(-MAX_OUTPUT);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', () => resolve(undefined));
    child.on('close', (code) => resolve({ code, output }));
  });
}

function lastLine(output: string): string {
  return oneLine(output.trim().split('\n').at(-1) ?? '');
}
