/** `shoal forget`: the agent on this machine asks the registry what a tag is, the next time somebody pulls it. */
import { parseImageReference } from '@shoal/oci';
import type { Command } from 'commander';
import { z } from 'zod';
import { adminFlag, askAdmin } from './admin-client.ts';
import type { CliIo } from './cli-io.ts';
import { CommandFailure, oneLine } from './command-failure.ts';

const PROGRAM = 'shoal forget';

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
    .option(...adminFlag(io))
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
  const answer = z.object({ forgotten: z.string().transform(oneLine) });
  const question = { program: PROGRAM, admin, path: '/v1/forget', body: { image }, answer, ability: 'forget' };
  const { forgotten } = await askAdmin(question);
  io.stdout.write(
    json ? `${JSON.stringify({ forgotten })}\n` : `Forgotten: ${forgotten}. The next pull asks the registry.\n`,
  );
}
