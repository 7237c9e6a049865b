/**
 * Docker: `registry-mirrors` serves docker.io alone; with the containerd image store (29 and later) `certs.d` serves every
 * registry. Loopback needs no TLS, but from 29.10 on only as long as `insecure-registries` is not set at all.
 */
import { hostsChanges } from './hosts-toml.ts';
import { changeOf, type Planner, SetupProblem } from './plan.ts';

const CONFIG_FILE = '/etc/docker/daemon.json';
const CERTS_DIR = '/etc/docker/certs.d';

export const planDocker: Planner = async ({ configFile = CONFIG_FILE, registriesDir = CERTS_DIR, mirror }, files) => {
  const before = await files.read(configFile);
  const config = parseConfig(configFile, before);
  const mirrors = listIn(configFile, config, 'registry-mirrors');
  const isThere = mirrors.some((url) => url.replace(/\/+$/, '') === mirror.url);
  const after: Record<string, unknown> = isThere
    ? { ...config }
    : { ...config, 'registry-mirrors': [mirror.url, ...mirrors] };
  if (config['insecure-registries'] !== undefined) {
    const insecure = listIn(configFile, config, 'insecure-registries');
    if (!insecure.includes(mirror.host)) after['insecure-registries'] = [...insecure, mirror.host];
  }
  const isSame = JSON.stringify(after) === JSON.stringify(config);
  const configChange = changeOf(configFile, before, isSame && before !== undefined ? before : format(after, before));
  return {
    changes: [...configChange, ...(await hostsChanges(registriesDir, mirror, files))],
    reload: configChange.length === 0 ? undefined : 'systemctl reload docker',
    notes: [
      'Is dockerd started with --registry-mirror, take that out: it refuses to start with a mirror in both places.',
      `Without the containerd image store Docker asks mirrors for docker.io alone; other registries: docker pull ${mirror.host}/ghcr.io/ORG/IMAGE.`,
    ],
  };
};

function parseConfig(file: string, text: string | undefined): Record<string, unknown> {
  if (text === undefined || text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw new SetupProblem(`${file} is not a JSON object; mend it first`);
}

function listIn(file: string, config: Record<string, unknown>, key: string): string[] {
  const list = config[key] ?? [];
  if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
  throw new SetupProblem(`${key} in ${file} is not a list of texts; mend it first`);
}

/** With the indentation that the file has. */
function format(value: object, before: string | undefined): string {
  const [, indent = '  '] = /^\{\s*\n([ \t]+)/.exec(before ?? '') ?? [];
  return `${JSON.stringify(value, undefined, indent)}\n`;
}
