/** `shoal demo` */
import type { ImageReference } from '@shoal/oci';
import { type Command, InvalidArgumentError } from 'commander';
import type { CliIo } from '../cli-io.ts';
import { readImage } from '../image-argument.ts';

const DEFAULT_NODES = 4;
const MAX_NODES = 64;

export function registerDemo(program: Command, io: CliIo): void {
  program
    .command('demo')
    .description('run a whole cluster on this machine, pull one image on every node at once, and count the bytes')
    .option('--nodes <N>', `how many agents, 1 to ${MAX_NODES}`, readNodes, DEFAULT_NODES)
    .option(
      '--image <REF>',
      'pull this image from its real registry (default: one assembled from this checkout)',
      readImage,
    )
    .option('--keep', 'leave the cluster running, and print how to pull through it, until Ctrl-C', false)
    .option('--json', 'print the result as JSON, and nothing else on stdout', false)
    .action(async (options: { nodes: number; image?: ImageReference; keep: boolean; json: boolean }) => {
      // Loaded only now: no other command needs what it is made of.
      const { runDemo } = await import('./run-demo.ts');
      await runDemo({ ...options, image: options.image }, io);
    });
}

function readNodes(text: string): number {
  const nodes = Number(text);
  if (!/^\d+$/.test(text) || nodes < 1 || nodes > MAX_NODES) {
    throw new InvalidArgumentError(`a whole number from 1 to ${MAX_NODES} is needed.`);
  }
  return nodes;
}
