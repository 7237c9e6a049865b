/**
 * containerd: `_default/hosts.toml` for every registry that has no folder of its own, and the mirror in front in those that have;
 * for Kubernetes (CRI) `config_path`, which has to be ONE folder: a list of two, as 2.x has by default, matches nothing there.
 */
import { join } from 'node:path';
import { withMirror } from './hosts-toml.ts';
import { changeOf, type FileChange, type Files, type MirrorAddress, type Planner, SetupProblem } from './plan.ts';
import { parseToml, setInToml, tomlAt } from './toml-edit.ts';

const CONFIG_FILE = '/etc/containerd/config.toml';
const CERTS_DIR = '/etc/containerd/certs.d';
/** Read by 1.x, and migrated by 2.x. */
const NEW_CONFIG = 'version = 2\n';

export const planContainerd: Planner = async (options, files) => {
  const configFile = options.configFile ?? CONFIG_FILE;
  const certsDir = options.registriesDir ?? CERTS_DIR;
  const before = await files.read(configFile);
  const text = before ?? NEW_CONFIG;
  const config = parseToml(configFile, text);
  const registry = ['plugins', ...criPlugin(configFile, config.version), 'registry'];
  for (const old of ['mirrors', 'configs']) {
    const used = tomlAt(config, [...registry, old]);
    if (typeof used === 'object' && used !== null && Object.keys(used).length > 0) {
      throw new SetupProblem(
        `${configFile} has registry.${old}, which containerd refuses beside config_path; move it to ${certsDir}/HOST/hosts.toml first`,
      );
    }
  }
  const path = tomlAt(config, [...registry, 'config_path']);
  const notes: string[] = [];
  if (typeof path === 'string' && path !== '' && path !== certsDir) {
    notes.push(`config_path was ${path}: what else is there is not read any more, so move it to ${certsDir}.`);
  }
  const configChange = changeOf(configFile, before, setInToml(configFile, text, registry, 'config_path', certsDir));
  return {
    changes: [...configChange, ...(await hostsChanges(certsDir, options.mirror, files))],
    reload: configChange.length === 0 ? undefined : 'systemctl restart containerd',
    notes,
  };
};

/** `_default`, and every registry with a file of its own. */
export async function hostsChanges(certsDir: string, mirror: MirrorAddress, files: Files): Promise<FileChange[]> {
  const changes: FileChange[] = [];
  const names = new Set([...(await files.list(certsDir)), '_default']);
  for (const name of names) {
    const path = join(certsDir, name, 'hosts.toml');
    const before = await files.read(path);
    // A folder with certificates alone says nothing about hosts.
    const isOther = before === undefined && name !== '_default';
    if (!isOther) changes.push(...changeOf(path, before, withMirror(path, before, mirror)));
  }
  return changes;
}

function criPlugin(file: string, version: unknown): string[] {
  switch (version) {
    case 3:
      return ['io.containerd.cri.v1.images'];
    case 2:
      return ['io.containerd.grpc.v1.cri'];
    case 1:
    case undefined:
      return ['cri'];
    default:
      throw new SetupProblem(`${file} is of version ${String(version)}, which is not known here; update shoal`);
  }
}
