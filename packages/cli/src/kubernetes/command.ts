/** `shoal kubernetes …`: what the pods of the Helm chart do beside agent and tracker, each once and to its end. */
import type { Command } from 'commander';
import type { CliIo } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';
import { codeOf } from '../error-code.ts';
import type { Programs } from '../run/programs.ts';
import { parseDuration } from '../settings/quantity.ts';
import { KubernetesApi, SERVICE_ACCOUNT_DIR } from './api.ts';
import { awaitDaemonSet } from './daemon-set.ts';
import { keepIdentitySecret } from './identity-secret.ts';
import { earlierZone, readZone, writeZone } from './node-zone.ts';

const PROGRAM = 'shoal kubernetes';

const MORE = `
They speak to the Kubernetes API as the service account of their pod. The chart (deploy/helm/shoal) runs them.

Examples:
  shoal kubernetes identity shoal-identity
  shoal kubernetes zone node-1 --into /var/lib/shoal/zone
  shoal kubernetes await-daemonset shoal-undo --within 5m
`;

interface Flags {
  serviceAccount: string;
  within: string;
  json: boolean;
}

export function registerKubernetes(program: Command, io: CliIo, programs: Programs): void {
  const group = program
    .command('kubernetes')
    .usage('COMMAND [FLAGS]')
    .summary("what the Helm chart's pods run beside agent and tracker")
    .description("What the Helm chart's pods run beside agent and tracker.")
    .addHelpText('after', MORE);

  const add = (name: string, argument: string, what: string, description: string, within: string): Command =>
    group
      .command(name)
      .usage(`${argument} [FLAGS]`)
      .description(description)
      .argument(`<${argument}>`, what)
      .option('--within <TIME>', 'how long the API may take, or what is waited for', within)
      .option('--service-account <DIR>', 'where the files of the service account are', SERVICE_ACCOUNT_DIR)
      .option('--json', 'print the result as JSON', false);

  add(
    'identity',
    'SECRET',
    'its name',
    "Makes the Secret with the cluster's identity, unless it is there.",
    '60s',
  ).action((name: string, flags: Flags) =>
    withApi(flags, io, async (api) => {
      const result = await keepIdentitySecret({ program: PROGRAM, name }, { api, programs });
      const told = result === 'made' ? 'is made' : 'is there already, and stays as it is';
      print(io, flags, `The Secret ${name} ${told}.`, { secret: name, result });
    }),
  );

  add('zone', 'NODE', 'its name', "Writes the zone of a node, from the node's label, into a file.", '30s')
    .requiredOption('--into <FILE>', 'written; kept as it is while the API does not answer')
    .option('--label <NAME>', 'the label of the node', 'topology.kubernetes.io/zone')
    .action((node: string, flags: Flags & { into: string; label: string }) => runZone(node, flags, io));

  add('await-daemonset', 'NAME', 'its name', 'Waits until a DaemonSet is ready on every node.', '5m').action(
    (name: string, flags: Flags) =>
      withApi(flags, io, async (api, withinMs) => {
        const nodes = await awaitDaemonSet({ program: PROGRAM, name, withinMs }, api);
        print(io, flags, `${name} is ready on ${nodes} nodes.`, { daemonSet: name, nodes });
      }),
  );
}

async function runZone(node: string, flags: Flags & { into: string; label: string }, io: CliIo): Promise<void> {
  let zone: string | undefined;
  try {
    zone = await withApi(flags, io, (api) => readZone({ node, label: flags.label }, api));
    await writeZone(flags.into, zone);
  } catch (error) {
    if (zone !== undefined) {
      const why = codeOf(error) ?? 'unknown reason';
      throw new CommandFailure(`${PROGRAM}: ${flags.into} cannot be written (${why})`, 1, { cause: error });
    }
    zone = await earlierZone(flags.into);
    // An agent that starts while the API is away, and shares, is better than one that waits.
    if (zone === undefined || !(error instanceof CommandFailure) || error.exitCode === 2) throw error;
    io.stderr.write(`${error.message}; the zone of the last start is kept\n`);
  }
  print(io, flags, `The node ${node} is in the zone ${zone}.`, { node, zone });
}

async function withApi<T>(
  flags: Flags,
  io: CliIo,
  act: (api: KubernetesApi, withinMs: number) => Promise<T>,
): Promise<T> {
  const withinMs = parseDuration(flags.within);
  if (withinMs === undefined) {
    throw new CommandFailure(
      `${PROGRAM}: --within ${JSON.stringify(flags.within)} is not a duration; write it like 30s or 5m`,
      2,
    );
  }
  const options = { program: PROGRAM, env: io.env, serviceAccountDir: flags.serviceAccount, withinMs };
  const api = await KubernetesApi.open(options);
  try {
    return await act(api, withinMs);
  } finally {
    await api.close();
  }
}

function print(io: CliIo, { json }: Flags, text: string, result: object): void {
  io.stdout.write(json ? `${JSON.stringify(result)}\n` : `${text}\n`);
}
