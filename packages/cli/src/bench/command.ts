/** `shoal bench` */
import type { ImageReference } from '@shoal/oci';
import { type Command, InvalidArgumentError } from 'commander';
import type { CliIo } from '../cli-io.ts';
import { readImage } from '../image-argument.ts';
import { agentSettings } from '../settings/agent-settings.ts';
import { parseHostPort } from '../settings/host-port.ts';
import { parseDuration } from '../settings/quantity.ts';
import { defaultTextOf } from '../settings/setting.ts';

const MORE = `
Pulls the image through the mirror of each agent at the same moment, as a container runtime would, without keeping it,
and reads the agents' metrics before and after: what they asked of the registry, of each other, and of their caches. An
agent's mirror and admin address are on its node's loopback unless you put them elsewhere or forward the ports.

With --watch nothing is pulled: what the agents do in that time is counted while you roll the image out yourself.

Examples:
  shoal bench ghcr.io/org/app:v1
  shoal bench ghcr.io/org/app:v1 --agent 10.0.0.1:7300,10.0.0.1:7303 --agent 10.0.0.2:7300,10.0.0.2:7303
  shoal bench ghcr.io/org/app:v1 --watch 5m --agent 127.0.0.1:7300,127.0.0.1:7303
`;

/** Of one agent. */
export interface AgentAddresses {
  readonly mirror: string;
  readonly admin: string;
}

export interface BenchOptions {
  readonly image: ImageReference;
  readonly agents: readonly AgentAddresses[];
  /** Undefined: the image is pulled. */
  readonly watchMs: number | undefined;
  readonly json: boolean;
}

export function registerBench(program: Command, io: CliIo): void {
  const local = `${defaultTextOf(agentSettings, 'mirror')},${defaultTextOf(agentSettings, 'admin')}`;
  program
    .command('bench')
    .usage('IMAGE [FLAGS]')
    .summary('measure what running agents save for an image')
    .description('Measures what running agents ask of the registry for an image, and what they spare it.')
    .argument('<IMAGE>', 'e.g. ghcr.io/org/app:v1', readImage)
    .option('--agent <MIRROR,ADMIN>', `addresses of an agent; again for each (default: ${local})`, readAgent, [])
    .option('--watch <DURATION>', 'pull nothing, count what the agents do in that time', readDuration)
    .option('--json', 'print the result as JSON, and nothing else on stdout', false)
    .addHelpText('after', MORE)
    .action(async (image: ImageReference, options: { agent: AgentAddresses[]; watch?: number; json: boolean }) => {
      const { runBench } = await import('./run-bench.ts');
      const agents = options.agent.length > 0 ? options.agent : readAgent(local, []);
      await runBench({ image, agents, watchMs: options.watch, json: options.json }, io);
    });
}

function readAgent(text: string, before: AgentAddresses[]): AgentAddresses[] {
  const [mirror = '', admin = '', ...more] = text.split(',');
  if (more.length > 0 || parseHostPort(mirror) === undefined || parseHostPort(admin) === undefined) {
    throw new InvalidArgumentError('write it as MIRROR,ADMIN: 127.0.0.1:7300,127.0.0.1:7303');
  }
  return [...before, { mirror, admin }];
}

function readDuration(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined || milliseconds === 0) throw new InvalidArgumentError('a duration like 5m is needed.');
  return milliseconds;
}
