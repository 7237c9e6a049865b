/**
 * Whether each container runtime of this machine pulls through the mirror: what `shoal setup` would still have to change is what is
 * missing. Files are only read.
 */
import { readContainerd } from '../setup/containerd.ts';
import { type Files, type MirrorAddress, SetupProblem } from '../setup/plan.ts';
import { RUNTIMES, type Runtime } from '../setup/runtimes.ts';
import { type Finding, named } from './finding.ts';

const MAX_PATHS_SHOWN = 3;

/** Any of these programs means that the runtime is here. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  containerd: ['containerd'],
  docker: ['dockerd'],
  podman: ['podman'],
  crio: ['crio'],
  buildkit: ['buildkitd'],
  k3s: ['k3s'],
};

export interface RuntimeDependencies {
  files: Files;
  isInstalled(program: string): Promise<boolean>;
  /** Registries that `shoal setup` was told of before; none when that cannot be read. */
  earlierRegistries(journal: string, mirror: MirrorAddress): Promise<readonly string[]>;
}

/** @param mirror `HOST:PORT`, as runtimes reach it */
export async function checkRuntimes(mirror: string, dependencies: RuntimeDependencies): Promise<Finding[]> {
  const findings = await Promise.all(
    Object.entries(RUNTIMES).map(async ([name, runtime]) => {
      const installed = await Promise.all((PROGRAMS[name] ?? []).map((program) => dependencies.isInstalled(program)));
      return installed.includes(true) ? await checkRuntime(name, runtime, mirror, dependencies) : [];
    }),
  );
  const all = findings.flat();
  // In a pod or another container that is so on every node.
  const none = "no container runtime is installed here; from inside a container the node's own is not seen";
  return all.length > 0 ? all : [named('runtime').skip(none)];
}

async function checkRuntime(
  name: string,
  runtime: Runtime,
  host: string,
  { files, earlierRegistries }: RuntimeDependencies,
): Promise<Finding[]> {
  const { fail, warn } = named(name);
  const mirror = { url: `http://${host}`, host };
  try {
    const special = name === 'containerd' ? await checkContainerd(files) : undefined;
    if (special?.ends === true) return special.findings;
    const registries = await earlierRegistries(runtime.journal ?? name, mirror);
    const pointed = await checkPointed(name, runtime, { mirror, registries }, files);
    return [pointed, ...(special?.findings ?? [])];
  } catch (error) {
    if (!(error instanceof SetupProblem)) throw error;
    if (/run this as root$/.test(error.message)) {
      return [
        warn(error.message.replace(/; run this as root$/, ''), 'run it as root: sudo shoal doctor --only runtime'),
      ];
    }
    return [fail(error.message, `then: ${setupCommand(name, host)}`)];
  }
}

async function checkPointed(
  name: string,
  { plan }: Runtime,
  { mirror, registries }: { mirror: MirrorAddress; registries: readonly string[] },
  files: Files,
): Promise<Finding> {
  const { ok, warn } = named(name);
  let isMentioned = false;
  const watched: Files = {
    read: async (path) => {
      const text = await files.read(path);
      if (text?.includes(mirror.host) === true) isMentioned = true;
      return text;
    },
    list: (path) => files.list(path),
  };
  const options = { mirror, configFile: undefined, registriesDir: undefined, registries };
  const { changes } = await plan(options, watched);
  if (changes.length === 0) return ok(`pulls through ${mirror.host}`);
  const paths = changes.map(({ path, before }) => (before === undefined ? `${path} is missing` : path));
  const shown = paths.slice(0, MAX_PATHS_SHOWN).join(', ');
  const more = paths.length > MAX_PATHS_SHOWN ? `, and ${paths.length - MAX_PATHS_SHOWN} more` : '';
  return warn(
    isMentioned
      ? `only some of its registries go through ${mirror.host}: ${shown}${more}`
      : `does not pull through ${mirror.host}: everything goes to the registries`,
    setupCommand(name, mirror.host),
  );
}

/** `ends`: nothing else about it matters. */
async function checkContainerd(files: Files): Promise<{ findings: Finding[]; ends: boolean }> {
  const { fail, skip } = named('containerd');
  const { configFile, configPath, discardsLayers, isWithoutCri } = await readContainerd(files);
  if (isWithoutCri)
    return { findings: [skip(`${configFile} disables its CRI plugin: only Docker uses it`)], ends: true };
  const folders = (configPath ?? '').split(':').filter((folder) => folder !== '');
  if (folders.length > 1) {
    return {
      findings: [
        fail(
          `config_path names ${folders.length} folders (${configPath}), of which containerd 2.x reads none`,
          `shoal setup containerd, or set config_path = "${folders[0]}" in ${configFile}; then systemctl restart containerd`,
        ),
      ],
      ends: true,
    };
  }
  if (!discardsLayers) return { findings: [], ends: false };
  return {
    findings: [
      named('containerd layers').warn(
        'discard_unpacked_layers is true: a layer that is needed again is pulled again, and what the agent no longer caches comes from the registry',
        `set discard_unpacked_layers = false in ${configFile} (and the files it imports), then systemctl restart containerd`,
      ),
    ],
    ends: false,
  };
}

function setupCommand(name: string, host: string): string {
  return `shoal setup ${name}${host === '127.0.0.1:7300' ? '' : ` --mirror http://${host}`}`;
}
