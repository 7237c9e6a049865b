/** `shoal prefetch` */
import { type ImageReference, parsePlatform } from '@shoal/oci';
import { isNodeName, MAX_ORDER_IMAGES, MIN_PREFETCH_BYTES_PER_SECOND } from '@shoal/wire';
import { type Command, InvalidArgumentError } from 'commander';
import { adminFlag } from '../admin-client.ts';
import type { CliIo } from '../cli-io.ts';
import { readImage } from '../image-argument.ts';
import { parseDuration, parseRate } from '../settings/quantity.ts';

const MORE = `
Has nodes fetch images into their caches before a container runtime pulls them. The agent of this machine passes the order
on to the tracker; nodes hear of it within about ten seconds, and fetch from each other as they would for a pull: the
registry is read about once. Each node fetches what it may read with its own credentials, and in the background of what its
runtime pulls. Nothing becomes readable by it: a runtime still has to show the registry its own credentials.

Without --nodes and --zone only this machine's agent fetches; that needs no tracker. Names are those of --name, by default
the hosts' names; shoal status shows the one of this machine. Ctrl-C cancels the order; what was fetched stays.

Exit code: 0 every node has it, 1 some node has not, 2 wrong usage.

Examples:
  shoal prefetch ghcr.io/org/app:v2 --nodes all
  shoal prefetch ghcr.io/org/app:v2 ghcr.io/org/sidecar:v5 --zone eu-west-1a --rate 20MiB --timeout 30m
  shoal prefetch alpine --nodes node-1,node-2 --platform linux/arm64
  shoal prefetch alpine --nodes all --detach
  shoal prefetch ls
  shoal prefetch cancel 4f1c22ab90
`;

export interface PrefetchFlags {
  readonly admin: string;
  readonly nodes?: readonly string[] | 'all';
  readonly zone?: string;
  readonly platform?: string;
  readonly rate?: number;
  readonly timeout?: number;
  readonly detach: boolean;
  readonly json: boolean;
}

export function registerPrefetch(program: Command, io: CliIo): void {
  const admin = adminFlag(io);
  const command = program
    .command('prefetch')
    .usage('IMAGE… [FLAGS] | ls | cancel ID')
    .summary('have nodes fetch an image before anybody pulls it')
    .description('Has nodes fetch images before anybody pulls them.')
    .helpCommand(false)
    .argument('<IMAGE...>', `e.g. ghcr.io/org/app:v2; up to ${MAX_ORDER_IMAGES}`, readImages)
    .option('--nodes <all|NAME,…>', 'the nodes that fetch (default: this machine alone)', readNodes)
    .option('--zone <NAME>', 'the nodes of this zone')
    .option('--platform <OS/ARCH|all>', "which of an image's platforms (default: each node's own)", readPlatform)
    .option(
      '--rate <SIZE>',
      'most that each node takes in per second for it, e.g. 50MiB (default: unlimited)',
      readRate,
    )
    .option('--timeout <TIME>', 'cancel what is not done by then, e.g. 30m', readTimeout)
    .option('--detach', 'do not wait: print the id of the order', false)
    .option(...admin)
    .option('--json', 'print the result as JSON, and nothing else on stdout', false)
    .addHelpText('after', MORE)
    .action(async (images: ImageReference[], flags: PrefetchFlags) => {
      const { runPrefetch } = await import('./run-prefetch.ts');
      await runPrefetch(images, flags, io);
    });
  // The flags of these are found by the command above, which has them, too.
  command
    .command('ls')
    .usage('[FLAGS]')
    .summary('show the orders under way, and those that ended lately')
    .description('Shows the orders under way, and those that ended lately.')
    .option(...admin)
    .option('--json', 'print the orders as JSON', false)
    .action(async (_flags: object, self: Command) => {
      const { listOrders } = await import('./orders.ts');
      await listOrders(self.optsWithGlobals<PrefetchFlags>(), io);
    });
  command
    .command('cancel')
    .usage('ID [FLAGS]')
    .summary('end an order; what was fetched stays')
    .description('Ends an order on all of its nodes; what was fetched stays.')
    .argument('<ID>', 'as shoal prefetch ls shows it')
    .option(...admin)
    .option('--json', 'print the order as JSON', false)
    .action(async (id: string, _flags: object, self: Command) => {
      const { cancelOrder } = await import('./orders.ts');
      await cancelOrder(id, self.optsWithGlobals<PrefetchFlags>(), io);
    });
}

function readImages(text: string, before: ImageReference[] | undefined): ImageReference[] {
  const images = [...(before ?? []), readImage(text)];
  if (images.length > MAX_ORDER_IMAGES) throw new InvalidArgumentError(`more than ${MAX_ORDER_IMAGES} in one order.`);
  return images;
}

function readNodes(text: string, before: readonly string[] | 'all' | undefined): readonly string[] | 'all' {
  if (text === 'all') return text;
  const names = text.split(',').map((name) => name.trim());
  if (!names.every(isNodeName)) throw new InvalidArgumentError('write all, or names like node-1,node-2.');
  return [...new Set([...(Array.isArray(before) ? before : []), ...names])];
}

function readPlatform(text: string): string {
  if (text !== 'all' && parsePlatform(text) === undefined)
    throw new InvalidArgumentError('write it like linux/arm64, or all.');
  return text;
}

function readRate(text: string): number {
  const bytesPerSecond = parseRate(text);
  if (bytesPerSecond === undefined || bytesPerSecond < MIN_PREFETCH_BYTES_PER_SECOND) {
    throw new InvalidArgumentError('write it in bytes per second, like 50MiB; at least 1MiB.');
  }
  return bytesPerSecond;
}

function readTimeout(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined || milliseconds === 0) throw new InvalidArgumentError('write it like 30m or 2h.');
  return milliseconds;
}
