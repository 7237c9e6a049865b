/** Asks the agent on this machine, at its admin address. */
import type { z } from 'zod';
import { CommandFailure } from './command-failure.ts';
import { parseHostPort } from './settings/host-port.ts';

const ANSWER_WITHIN_MS = 5_000;

export interface AdminQuestion<T> {
  /** `shoal NAME`, for what is told when there is no answer. */
  readonly program: string;
  /** HOST:PORT, as given. */
  readonly admin: string;
  readonly path: string;
  /** Posted; undefined: the path is only read. */
  readonly body?: object;
  readonly answer: z.ZodType<T>;
  /** What an agent that answers this can do: "forget". */
  readonly ability: string;
  readonly signal?: AbortSignal;
}

/** @throws CommandFailure */
export async function askAdmin<T>(question: AdminQuestion<T>): Promise<T> {
  const { program, admin, path, body, answer: expected, ability, signal } = question;
  if (parseHostPort(admin) === undefined) {
    throw new CommandFailure(
      `${program}: --admin ${JSON.stringify(admin)} is not an address; write it as HOST:PORT`,
      2,
    );
  }
  const post = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  let answer: Response;
  try {
    answer = await fetch(`http://${admin}${path}`, {
      ...post,
      ...(body !== undefined && { headers: { 'content-type': 'application/json' } }),
      signal: AbortSignal.any([AbortSignal.timeout(ANSWER_WITHIN_MS), ...(signal === undefined ? [] : [signal])]),
    });
  } catch (cause) {
    const line = `${program}: no agent answers at ${admin}; start one, or give the admin address of the one that runs with --admin`;
    throw new CommandFailure(line, 1, { cause });
  }
  const parsed = await answer.json().then(
    (value: unknown) => expected.safeParse(value),
    () => undefined,
  );
  if (answer.ok && parsed?.success === true) return parsed.data;
  throw new CommandFailure(
    `${program}: what answers at ${admin} (status ${answer.status}) is no agent that can ${ability}; check --admin`,
  );
}
