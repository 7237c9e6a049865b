import { DaemonFolder } from './daemon-folder.ts';

// What skopeo and podman read: their own policy, registries and credentials instead of the machine's and the user's.

const acceptAnything = JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] });

/** How a client reaches one registry, as in registries.conf; everything is spoken to without TLS. */
export interface RegistryRoute {
  /** The registry as image names have it. */
  readonly registry: string;
  /** Where it really is, `HOST:PORT`, with a path prefix if it needs one. @default the registry itself */
  readonly location?: string;
  /** A mirror to try first: `HOST:PORT/PREFIX`. */
  readonly mirror?: string;
}

/** Makes a folder of settings that know these registries and no others. */
export async function createClientFolder(name: string, routes: readonly RegistryRoute[]): Promise<DaemonFolder> {
  const folder = await DaemonFolder.create(name);
  await folder.write(
    'registries.conf',
    ['unqualified-search-registries = []\n', ...routes.map(registryTable)].join('\n'),
  );
  await folder.write('policy.json', acceptAnything);
  await folder.write('auth.json', '{}');
  return folder;
}

function registryTable({ registry, location = registry, mirror }: RegistryRoute): string {
  const table = `[[registry]]\nprefix = "${registry}"\nlocation = "${location}"\ninsecure = true\n`;
  return mirror === undefined ? table : `${table}[[registry.mirror]]\nlocation = "${mirror}"\ninsecure = true\n`;
}

/** The environment that makes a client read the folder's settings. */
export function clientEnvironment(folder: DaemonFolder): Record<string, string> {
  return {
    HOME: folder.path,
    XDG_RUNTIME_DIR: folder.path,
    TMPDIR: folder.path,
    CONTAINERS_REGISTRIES_CONF: folder.join('registries.conf'),
    REGISTRY_AUTH_FILE: folder.join('auth.json'),
  };
}
