/**
 * containerd: `_default/hosts.toml` for every registry that has no folder of its own, and the mirror in front in those that have;
 * for Kubernetes (CRI) `config_path`, which has to be ONE folder: a list of two, as 2.x has by default, matches nothing there.
 */
import { dirname, join } from 'node:path';
import type { TomlTable } from 'smol-toml';
import { hostsChanges } from './hosts-toml.ts';
import { changeOf, type Files, type Planner, SetupProblem } from './plan.ts';
import { parseToml, setInToml, tomlAt } from './toml-edit.ts';

const CONFIG_FILE = '/etc/containerd/config.toml';
export const CERTS_DIR = '/etc/containerd/certs.d';
/** Read by 1.x, and migrated by 2.x. */
const NEW_CONFIG = 'version = 2\n';

export const planContainerd: Planner = async (options, files) => {
  const configFile = options.configFile ?? CONFIG_FILE;
  const before = await files.read(configFile);
  const text = before ?? NEW_CONFIG;
  const config = parseToml(configFile, text);
  const registry = ['plugins', ...criPlugin(configFile, config.version), 'registry'];
  mustBeModern(configFile, config, registry);
  for (const path of await importedFiles(config, files)) {
    mustBeModern(path, parseToml(path, (await files.read(path)) ?? ''), registry);
  }
  const configured = tomlAt(config, [...registry, 'config_path']);
  const folders = typeof configured === 'string' ? configured.split(':').filter((folder) => folder !== '') : [];
  const [first = CERTS_DIR, ...others] = folders;
  const certsDir = options.registriesDir ?? first;
  const notes: string[] = [];
  if (others.length > 0) {
    await mustBeEmpty(others, certsDir, files);
    notes.push(
      `config_path named several folders (${configured}), of which containerd 2.x would read none; now it is ${certsDir}.`,
    );
  }
  const configChange = changeOf(configFile, before, setInToml(configFile, text, registry, 'config_path', certsDir));
  return {
    changes: [...configChange, ...(await hostsChanges(certsDir, options.mirror, files))],
    reload: configChange.length === 0 ? undefined : 'systemctl restart containerd',
    notes,
  };
};

/** What the files of containerd say about how it pulls; imported files win over the main one, as there. */
export interface ContainerdSettings {
  configFile: string;
  configPath: string | undefined;
  /** Layers are thrown away once they are unpacked. */
  discardsLayers: boolean;
  /** As Docker's packages have it: only Docker uses this containerd. */
  isWithoutCri: boolean;
}

/** @throws SetupProblem */
export async function readContainerd(files: Files, configFile: string = CONFIG_FILE): Promise<ContainerdSettings> {
  const main = parseToml(configFile, (await files.read(configFile)) ?? NEW_CONFIG);
  const settings = { configFile, configPath: undefined, discardsLayers: false, isWithoutCri: false };
  const imported = await importedFiles(main, files);
  const others = await Promise.all(imported.map(async (path) => parseToml(path, (await files.read(path)) ?? '')));
  return [main, ...others].reduce<ContainerdSettings>((known, config) => {
    const plugin = ['plugins', ...criPlugin(configFile, config.version ?? main.version)];
    const configPath = tomlAt(config, [...plugin, 'registry', 'config_path']);
    const discards =
      tomlAt(config, [...plugin, 'discard_unpacked_layers']) ??
      tomlAt(config, [...plugin, 'containerd', 'discard_unpacked_layers']);
    const disabled = Array.isArray(config.disabled_plugins) ? config.disabled_plugins : [];
    return {
      configFile,
      configPath: typeof configPath === 'string' ? configPath : known.configPath,
      discardsLayers: typeof discards === 'boolean' ? discards : known.discardsLayers,
      isWithoutCri: known.isWithoutCri || disabled.includes('cri') || disabled.includes('io.containerd.grpc.v1.cri'),
    };
  }, settings);
}

/** containerd does not load CRI at all with the old settings beside config_path. */
function mustBeModern(path: string, config: TomlTable, registry: readonly string[]): void {
  const mirrors = tomlAt(config, [...registry, 'mirrors']) ?? {};
  const configs = Object.values(tomlAt(config, [...registry, 'configs']) ?? {});
  const isTls = configs.some((one) => typeof one === 'object' && one !== null && 'tls' in one);
  if (Object.keys(mirrors).length === 0 && !isTls) return;
  const what = isTls ? 'registry.configs with tls' : 'registry.mirrors';
  throw new SetupProblem(
    `${path} has ${what}, which containerd refuses beside config_path; move it to hosts.toml files first`,
  );
}

/** Of `imports`, files by name and `FOLDER/*.toml`. */
async function importedFiles(config: TomlTable, files: Files): Promise<string[]> {
  const patterns = Array.isArray(config.imports) ? config.imports.map(String) : [];
  const found = await Promise.all(
    patterns.map(async (pattern) => {
      if (!pattern.includes('*')) return [pattern];
      const names = await files.list(dirname(pattern));
      return names.filter((name) => name.endsWith('.toml')).map((name) => join(dirname(pattern), name));
    }),
  );
  return found.flat();
}

/** Whatever else was read is not read any more. */
async function mustBeEmpty(folders: readonly string[], certsDir: string, files: Files): Promise<void> {
  const kept = new Set(await files.list(certsDir));
  for (const folder of folders) {
    const lost = (await files.list(folder)).filter((name) => !kept.has(name));
    if (lost.length > 0) {
      throw new SetupProblem(
        `config_path also names ${folder}, where ${lost.join(', ')} is; move that to ${certsDir} first`,
      );
    }
  }
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
