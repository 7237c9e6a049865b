/** `shoal forget`: the agent on this machine asks the registry what a tag is, the next time somebody pulls it. */
import { parseImageReference } from '@shoal/oci';
import type { Command } from 'commander';
import type { CliIo } from './cli-io.ts';
import { CommandFailure, oneLine } from './command-failure.ts';
import { agentSettings } from './settings/agent-settings.ts';
import { parseHostPort } from './settings/host-port.ts';
import { defaultTextOf } from './settings/setting.ts';

const PROGRAM = 'shoal forget';
const ANSWER_WITHIN_MS = 5_000;

const MORE = `
An agent remembers what a tag was: for --tag-fresh, and while the registry cannot be asked for --tag-stale. Forget a tag
that was moved and has to be seen at once. Other agents see it when their own answer is no longer fresh.

Examples:
  shoal forget ghcr.io/org/app:v1
  shoal forget alpine --admin 127.0.0.1:7303
`;

export function registerForget(program: Command, io: CliIo): void {
  program
    .command('forget')
    .usage('IMAGE [FLAGS]')
    .summary('have the next pull of a tag ask its registry')
    .description('Makes the agent on this machine forget what a tag was.')
    .argument('<IMAGE>', 'e.g. ghcr.io/org/app:v1')
    .option('--admin <HOST:PORT>', "the agent's admin address", defaultTextOf(agentSettings, 'admin'))
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', MORE)
    .action((image: string, { admin, json }: { admin: string; json: boolean }) => forget(image, admin, json, io));
}

async function forget(image: string, admin: string, json: boolean, io: CliIo): Promise<void> {
  const reference = parseImageReference(image);
  if (reference === undefined || reference.digest !== undefined) {
    throw new CommandFailure(
      `${PROGRAM}: ${JSON.stringify(image)} is not an image with a tag; an example: ghcr.io/org/app:v1`,
      2,
    );
  }
  if (parseHostPort(admin) === undefined) {
    throw new CommandFailure(
      `${PROGRAM}: --admin ${JSON.stringify(admin)} is not an address; write it as HOST:PORT`,
      2,
    );
  }
  const { forgotten } = await post(`http://${admin}/v1/forget`, { image }, admin);
  io.stdout.write(
    json ? `${JSON.stringify({ forgotten })}\n` : `Forgotten: ${forgotten}. The next pull asks the registry.\n`,
  );
}

async function post(url: string, body: object, admin: string): Promise<{ forgotten: string }> {
  let answer: Response;
  try {
    answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
  } catch (cause) {
    const line = `${PROGRAM}: no agent answers at ${admin}; start one, or give the admin address of the one that runs with --admin`;
    throw new CommandFailure(line, 1, { cause });
  }
  const text = await answer.text();
  try {
    const parsed: unknown = JSON.parse(text);
    if (answer.ok && typeof parsed === 'object' && parsed !== null && 'forgotten' in parsed) {
      return { forgotten: oneLine(String(parsed.forgotten)) };
    }
  } catch {
    // Told below.
  }
  throw new CommandFailure(
    `${PROGRAM}: what answers at ${admin} (status ${answer.status}) is no agent that can forget; check --admin`,
  );
}
