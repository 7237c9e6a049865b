/**
 * Podman, CRI-O, Buildah and Skopeo (containers-registries.conf(5)): a drop-in with one table per registry, because there is no
 * way to say all. A later file replaces the table of an earlier one, so what is known about a registry is taken over.
 */
import { join } from 'node:path';
import { isRegistryHost } from '@shoal/oci';
import { stringify, type TomlTable } from 'smol-toml';
import { changeOf, type Files, MADE_BY, type Planner, SetupProblem } from './plan.ts';
import { withUsual } from './registries.ts';
import { parseToml } from './toml-edit.ts';

const CONFIG_FILE = '/etc/containers/registries.conf';
const DROP_INS = '/etc/containers/registries.conf.d';
/** After all others. */
const FILE = 'zz-shoal.conf';

export const planPodman: Planner = (options, files) => planDropIn(options, files, undefined);
export const planCrio: Planner = (options, files) => planDropIn(options, files, 'systemctl reload crio');

async function planDropIn(
  { configFile = CONFIG_FILE, registriesDir = DROP_INS, mirror, registries }: Parameters<Planner>[0],
  files: Files,
  reload: string | undefined,
): ReturnType<Planner> {
  const path = join(registriesDir, FILE);
  const known = await knownTables(configFile, registriesDir, files);
  const asked = withUsual(registries);
  for (const host of asked) mustBeWhole(host);
  const hosts = new Set([...asked, ...[...known.keys()].filter(isWholeHost)]);
  const notes: string[] = [];
  const tables = [...hosts].flatMap((host) => {
    const { mirror: others = [], ...table } = known.get(host) ?? { prefix: host, location: host };
    // Where a registry is really elsewhere, that is what has to be asked for.
    const location = typeof table.location === 'string' ? table.location : host;
    if (table.blocked === true) return [];
    if (!isRegistryHost(location.split('/')[0] ?? '') || location.includes(':')) {
      notes.push(`${host} is left as it is: behind the mirror there is no place for ${location}.`);
      return [];
    }
    const ours = { location: `${mirror.host}/${location}`, insecure: true };
    if (!isListOfTables(others))
      throw new SetupProblem(`the mirrors of ${host} are no list of [[registry.mirror]]; mend them first`);
    const rest = others.filter((other) => other.location !== ours.location);
    return [{ ...table, mirror: [ours, ...rest] }];
  });
  const after = `${MADE_BY}\n${stringify({ registry: tables })}\n`;
  const changes = changeOf(path, await files.read(path), after);
  return { changes, reload: changes.length === 0 ? undefined : reload, notes };
}

/** The `[[registry]]` tables of all files but this one's own, by prefix; of several for one prefix the last counts. */
async function knownTables(configFile: string, dropIns: string, files: Files): Promise<Map<string, TomlTable>> {
  const found = new Map<string, TomlTable>();
  const names = (await files.list(dropIns)).filter((name) => name.endsWith('.conf') && name !== FILE);
  for (const path of [configFile, ...names.map((name) => join(dropIns, name))]) {
    const text = await files.read(path);
    if (text === undefined) continue;
    const { registry = [] } = parseToml(path, text);
    if (!isListOfTables(registry)) throw new SetupProblem(`${path} has no list of [[registry]]; mend it first`);
    for (const table of registry) {
      const prefix = table.prefix ?? table.location;
      if (typeof prefix === 'string') found.set(prefix, table);
    }
  }
  return found;
}

function isListOfTables(value: unknown): value is TomlTable[] {
  return (
    Array.isArray(value) && value.every((item) => typeof item === 'object' && item !== null && !Array.isArray(item))
  );
}

/** Behind the mirror's address there is no place for a port, nor for wildcards. */
function isWholeHost(prefix: string): boolean {
  return !prefix.includes('/') && !prefix.includes(':') && !prefix.includes('*');
}

function mustBeWhole(host: string): void {
  if (isWholeHost(host)) return;
  throw new SetupProblem(
    `--registry ${JSON.stringify(host)} is no host without a port; give the agent such a name for it: shoal agent --registry NAME=URL`,
  );
}
