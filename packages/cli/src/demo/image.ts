/**
 * The image that the demo spreads: real, runnable on Linux, and made of nothing but what the install brought, so that
 * the demo needs no registry and no network. Five layers:
 *
 *   base       the libraries the Node binary loads, at the paths where the loader looks for them
 *   node       the Node binary
 *   libraries  the packages Shoal runs on
 *   tools      the packages it is developed with
 *   app        Shoal itself and a script that says hello
 */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { entriesUnder, findCheckout, installedClosure, storeEntries } from './checkout.ts';
import { type ImagePlan, type PlannedLayer, type WrittenImage, writeImage } from './image-layout.ts';
import type { LayerEntry } from './layer.ts';
import { sharedLibrariesOf } from './shared-libraries.ts';

/** Shoal's own packages that the app needs to run. */
const APP_PACKAGES = ['oci', 'swarm', 'wire', 'agent', 'tracker', 'cli'];
/** Development packages that give the image weight: compilers, as many a real image carries. */
const TOOLS = /^(@biomejs\+|@?typescript[+@])/;
const HELLO = `import { readdirSync } from 'node:fs';

const packages = readdirSync('/app/node_modules/.pnpm').length;
console.log(\`Hello from Node \${process.version} on \${process.platform}/\${process.arch}, with \${packages} packages.\`);
console.log('This image was assembled by "shoal demo" and came to you in pieces, from its peers.');
`;

export interface DemoImageOptions {
  /** A folder to write the OCI layout into; made if missing. */
  folder: string;
  tag: string;
  nodeBinary: string;
  /** `process.platform` and `process.arch` of that binary. */
  platform: string;
  arch: string;
  /** A path inside the checkout. */
  start: string;
}

/** @throws Error when `start` is not inside an installed checkout, or a file cannot be read or written. */
export async function buildDemoImage(options: DemoImageOptions, signal?: AbortSignal): Promise<WrittenImage> {
  const checkout = await findCheckout(options.start);
  if (checkout === undefined) {
    throw new Error('the demo assembles its image from an installed checkout of Shoal; elsewhere, use --image REF');
  }
  await mkdir(options.folder, { recursive: true });
  return await writeImage(options.folder, await planDemoImage(checkout, options), signal);
}

/** Containers run Linux; the same files assembled on another system still make an image, but not one that starts. */
export function runsInContainers(platform: string): boolean {
  return platform === 'linux';
}

export function ociArchitecture(arch: string): string {
  return arch === 'x64' ? 'amd64' : arch;
}

export async function planDemoImage(checkout: string, options: Omit<DemoImageOptions, 'folder'>): Promise<ImagePlan> {
  const libraries = runsInContainers(options.platform) ? await sharedLibrariesOf(options.nodeBinary) : [];
  const appModules = APP_PACKAGES.map((name) => join(checkout, 'packages', name, 'node_modules'));
  const needed = await installedClosure(checkout, appModules);
  const installed = await installedClosure(checkout, [join(checkout, 'node_modules')]);
  const tools = installed.filter((name) => TOOLS.test(name) && !needed.includes(name));
  return {
    tag: options.tag,
    architecture: ociArchitecture(options.arch),
    os: options.platform,
    layers: [
      { origin: 'libraries of the Node binary', entries: baseEntries(libraries) },
      {
        origin: 'the Node binary',
        entries: [{ kind: 'file', path: 'usr/local/bin/node', source: options.nodeBinary }],
      },
      await packagesLayer('packages Shoal runs on', checkout, needed),
      await packagesLayer('packages Shoal is developed with', checkout, tools),
      { origin: 'Shoal', entries: await appEntries(checkout) },
    ],
    entrypoint: ['/usr/local/bin/node', '/app/hello.mjs'],
    environment: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      ...(libraries.length > 0 ? { LD_LIBRARY_PATH: libraryFolders(libraries).join(':') } : {}),
    },
    workingFolder: '/app',
    labels: { 'org.opencontainers.image.title': 'Shoal demo' },
  };
}

/** The loader of another distribution searches other folders, so those of this machine are named to it. */
function libraryFolders(libraries: readonly string[]): string[] {
  return [...new Set(libraries.map((path) => dirname(path)))].sort();
}

/** Contents through the links, but at the unresolved paths: those are what the binary and the loader ask for. */
function baseEntries(libraries: readonly string[]): LayerEntry[] {
  return [
    { kind: 'directory', path: 'tmp', mode: 0o1777 },
    { kind: 'text', path: 'etc/passwd', text: 'root:x:0:0:root:/root:/sbin/nologin\n' },
    { kind: 'text', path: 'etc/group', text: 'root:x:0:\n' },
    ...libraries.map((source): LayerEntry => ({ kind: 'file', path: source.slice(1), source })),
  ];
}

async function packagesLayer(origin: string, checkout: string, names: readonly string[]): Promise<PlannedLayer> {
  const entries: LayerEntry[] = [];
  for (const name of names) entries.push(...(await storeEntries(checkout, name)));
  return { origin, entries };
}

async function appEntries(checkout: string): Promise<LayerEntry[]> {
  const entries: LayerEntry[] = [{ kind: 'text', path: 'app/hello.mjs', text: HELLO }];
  const wanted = (name: string): boolean => name !== 'dist' && !name.startsWith('.') && !name.endsWith('.tsbuildinfo');
  for (const name of APP_PACKAGES) {
    entries.push(...(await entriesUnder(join(checkout, 'packages', name), `app/packages/${name}`, wanted)));
  }
  return entries;
}
