/** Asks the agent on this machine, at its admin address. */
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { z } from 'zod';
import type { CliIo } from './cli-io.ts';
import { CommandFailure, oneLine } from './command-failure.ts';
import { agentSettings } from './settings/agent-settings.ts';
import { parseHostPort } from './settings/host-port.ts';
import { defaultTextOf } from './settings/setting.ts';

const ANSWER_WITHIN_MS = 5_000;
/** Between two lines of a long answer. */
const NEXT_LINE_WITHIN_MS = 10_000;
const CANNOT = 409;

const refusalSchema = z.object({ error: z.string(), refused: z.literal(true) });

/** The agent answers, and says why it does not do what was asked. */
export class AdminRefusal extends CommandFailure {
  readonly status: number;
  constructor(line: string, status: number) {
    super(line);
    this.name = 'AdminRefusal';
    this.status = status;
  }
}

export interface AdminQuestion<T> {
  /** `shoal NAME`, for what is told when there is no answer. */
  readonly program: string;
  /** HOST:PORT, as given. */
  readonly admin: string;
  readonly path: string;
  /** Posted; undefined: the path is only read. */
  readonly body?: object;
  /** @default GET, or POST with a body */
  readonly method?: 'DELETE';
  /** Of an answer in lines, each of them. */
  readonly answer: z.ZodType<T>;
  /** What an agent that answers this can do: "forget". */
  readonly ability: string;
  /** @default 5 s */
  readonly withinMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Where the agent is: in its pod or container it was told by a variable, which a command there sees, too. */
export function adminFlag({ env }: CliIo): [flag: string, description: string, whenLeftOut: string] {
  const told = env.SHOAL_ADMIN;
  const known = told === undefined || told === '' ? defaultTextOf(agentSettings, 'admin') : told;
  return ['--admin <HOST:PORT>', "the agent's admin address, else SHOAL_ADMIN", known];
}

const problemSchema = z.object({ error: z.string() });

/** @throws CommandFailure */
export async function askAdmin<T>(question: AdminQuestion<T>): Promise<T> {
  const { withinMs = ANSWER_WITHIN_MS, signal } = question;
  const response = await ask(question, AbortSignal.any([AbortSignal.timeout(withinMs), ...present(signal)]));
  const parsed = await response.json().then(
    (value: unknown) => question.answer.safeParse(value),
    () => undefined,
  );
  if (parsed?.success === true) return parsed.data;
  throw noSuchAgent(question, response.status);
}

/** An answer of one line of JSON each. @throws CommandFailure, also when the agent goes away or falls silent; the reason of `signal` */
export async function* adminLines<T>(question: AdminQuestion<T>): AsyncGenerator<T> {
  const { program, admin, answer, signal } = question;
  const silent = new AbortController();
  const timer = setTimeout(() => silent.abort(), NEXT_LINE_WITHIN_MS);
  try {
    const response = await ask(question, AbortSignal.any([silent.signal, ...present(signal)]));
    const body = Readable.fromWeb(response.body as ReadableStream<Uint8Array>);
    // The lines end with the body, however it ends.
    const failed = new Promise<never>((_, reject) => body.once('error', reject));
    failed.catch(() => undefined);
    const lines = createInterface({ input: body })[Symbol.asyncIterator]();
    for (;;) {
      const line = await Promise.race([lines.next(), failed]);
      timer.refresh();
      if (line.done === true) return;
      const parsed = answer.safeParse(jsonOf(line.value));
      if (!parsed.success) throw noSuchAgent(question, response.status);
      yield parsed.data;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof CommandFailure) throw cause;
    const line = `${program}: the agent at ${admin} stopped answering; see its log, and try again`;
    throw new CommandFailure(line, 1, { cause });
  } finally {
    clearTimeout(timer);
    silent.abort();
  }
}

/** An answer that says yes. @throws CommandFailure */
async function ask(question: AdminQuestion<unknown>, signal: AbortSignal): Promise<Response> {
  const { program, admin, path, body } = question;
  if (parseHostPort(admin) === undefined) {
    throw new CommandFailure(
      `${program}: --admin ${JSON.stringify(admin)} is not an address; write it as HOST:PORT`,
      2,
    );
  }
  const post =
    body === undefined ? { method: question.method ?? 'GET' } : { method: 'POST', body: JSON.stringify(body) };
  let response: Response;
  try {
    response = await fetch(`http://${admin}${path}`, {
      ...post,
      ...(body !== undefined && { headers: { 'content-type': 'application/json' } }),
      signal,
    });
  } catch (cause) {
    const line = `${program}: no agent answers at ${admin}; start one, or give the admin address of the one that runs with --admin`;
    throw new CommandFailure(line, 1, { cause });
  }
  if (response.ok) return response;
  const value: unknown = await response.json().catch(() => undefined);
  const refusal = refusalSchema.safeParse(value);
  if (refusal.success) throw new AdminRefusal(`${program}: ${oneLine(refusal.data.error)}`, response.status);
  const problem = problemSchema.safeParse(value);
  if (response.status === CANNOT && problem.success) {
    throw new CommandFailure(`${program}: ${oneLine(problem.data.error)}`);
  }
  throw noSuchAgent(question, response.status);
}

function noSuchAgent({ program, admin, ability }: AdminQuestion<unknown>, status: number): CommandFailure {
  return new CommandFailure(
    `${program}: what answers at ${admin} (status ${status}) is no agent that can ${ability}; check --admin`,
  );
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function present(signal: AbortSignal | undefined): AbortSignal[] {
  return signal === undefined ? [] : [signal];
}
