/** `shoal cache`: what the agent on this machine keeps, and what it shall keep. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { adminFlag } from '../admin-client.ts';
import type { CliIo } from '../cli-io.ts';
import { parseDuration, parseSize } from '../settings/quantity.ts';
import { type PruneFlags, pinBlobs, pruneCache, removeBlobs, unpinBlobs } from './change.ts';
import { type ListFlags, listCache } from './list.ts';
import { verifyCache } from './verify.ts';

const NAMES = 'digests (or their beginnings, as ls shows them), or images such as ghcr.io/org/app:v1';

const MORE = `
An IMAGE is one whose manifest the agent holds: its manifests, config and layers, shared ones too. A DIGEST is that blob alone. What is removed
is pulled again when it is next asked for; other agents and the tracker are told at once that it is gone.

Examples:
  shoal cache ls --sort size
  shoal cache pin ghcr.io/org/app:v1
  shoal cache rm sha256:4f53cda18c2b
  shoal cache prune --older-than 7d --keep 20GB --dry-run
  shoal cache verify
`;

interface Flags {
  admin: string;
  json: boolean;
}

export function registerCache(program: Command, io: CliIo): void {
  const cache = program
    .command('cache')
    .usage('COMMAND [FLAGS]')
    .summary('list, pin, remove and verify what the agent on this machine keeps')
    .description('Shows and changes what the agent on this machine keeps on its disk.')
    .helpCommand(false)
    .addHelpText('after', MORE);
  const add = (name: string, usage: string, summary: string): Command =>
    cache
      .command(name)
      .usage(usage)
      .summary(summary)
      .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
      .option(...adminFlag(io))
      .option('--json', 'print the result as JSON', false);

  add('ls', '[FLAGS]', 'list the blobs on disk')
    .addOption(
      new Option('--sort <BY>', 'what comes first: used last, largest, by registry and digest')
        .choices(['used', 'size', 'name'])
        .default('used'),
    )
    .option('--no-trunc', 'whole digests')
    .option('--pins', 'list what is pinned instead', false)
    .action((flags: ListFlags) => listCache(flags, io));
  add('rm', 'DIGEST|IMAGE… [FLAGS]', 'remove blobs; those being read, when that is over')
    .argument('<NAME...>', NAMES)
    .option('--force', 'also what is pinned, which is unpinned then', false)
    .action((names: string[], flags: Flags & { force: boolean }) => removeBlobs(names, flags, io));
  add('prune', '[FLAGS]', 'remove what is neither pinned nor being read, the least recently used first')
    .option('--keep <SIZE>', 'stop once no more than this is kept, e.g. 20GB', readSize)
    .option('--older-than <TIME>', 'only what nobody read for so long, e.g. 12h or 7d', readDuration)
    .option('--dry-run', 'show what would go, and keep it', false)
    .action((flags: PruneFlags) => pruneCache(flags, io));
  add('verify', '[FLAGS]', 'read every blob back and drop what is damaged; exit code 1 if anything was').action(
    (flags: Flags) => verifyCache(flags, io),
  );
  add('pin', 'DIGEST|IMAGE… [FLAGS]', 'keep blobs whatever room others need, also after a restart')
    .argument('<NAME...>', NAMES)
    .action((names: string[], flags: Flags) => pinBlobs(names, flags, io));
  add('unpin', 'DIGEST|IMAGE… [FLAGS]', 'let them go again when room is needed')
    .argument('<NAME...>', NAMES)
    .action((names: string[], flags: Flags) => unpinBlobs(names, flags, io));
}

/** @throws InvalidArgumentError */
function readSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError('a size like 20GB or 500MiB is needed.');
  return bytes;
}

/** @throws InvalidArgumentError */
function readDuration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('a duration like 12h or 7d is needed.');
  return ms;
}
