/** What the install left in this checkout, found by walking pnpm's links; the demo's image is made of it. */
import { access, readdir, readlink, realpath } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import type { LayerEntry } from './layer.ts';

/** Where pnpm keeps packages: `node_modules/.pnpm/NAME@VERSION/node_modules/NAME`. */
const PACKAGE_STORE: string = join('node_modules', '.pnpm');
/** Shims that name this machine's paths. */
const SHIMS = '.bin';

/** The nearest folder at or above `start` that holds an installed workspace, or undefined. */
export async function findCheckout(start: string): Promise<string | undefined> {
  for (let folder = start; ; folder = dirname(folder)) {
    const found = await Promise.all(
      [join(folder, 'pnpm-workspace.yaml'), join(folder, PACKAGE_STORE)].map((path) =>
        access(path).then(
          () => true,
          () => false,
        ),
      ),
    );
    if (found.every(Boolean)) return folder;
    if (folder === dirname(folder)) return undefined;
  }
}

/**
 * Store folders (`NAME@VERSION`) that the packages linked in `nodeModules` need, their dependencies' dependencies
 * included. Links to the workspace's own packages are left out.
 */
export async function installedClosure(checkout: string, nodeModules: readonly string[]): Promise<string[]> {
  const store = await realpath(join(checkout, PACKAGE_STORE));
  const found = new Set<string>();
  const toRead = [...nodeModules];
  for (let folder = toRead.pop(); folder !== undefined; folder = toRead.pop()) {
    for (const link of await packageLinks(folder)) {
      const [name = ''] = relative(store, await realpath(link)).split(sep);
      if (name === '..' || found.has(name)) continue;
      found.add(name);
      toRead.push(join(store, name, 'node_modules'));
    }
  }
  return [...found].sort();
}

/** A store folder's entries, placed where the same links lead to them: under `app/node_modules/.pnpm`. */
export async function storeEntries(checkout: string, name: string): Promise<LayerEntry[]> {
  return await entriesUnder(join(checkout, PACKAGE_STORE, name), `app/node_modules/.pnpm/${name}`, () => true);
}

/** Every file, folder and link below `source` whose name `keep` accepts; links are kept as links. */
export async function entriesUnder(
  source: string,
  path: string,
  keep: (name: string) => boolean,
): Promise<LayerEntry[]> {
  const entries: LayerEntry[] = [];
  for (const item of await readdir(source, { withFileTypes: true })) {
    if (item.name === SHIMS || !keep(item.name)) continue;
    const from = join(source, item.name);
    const to = `${path}/${item.name}`;
    if (item.isDirectory()) entries.push(...(await entriesUnder(from, to, keep)));
    else if (item.isSymbolicLink()) entries.push({ kind: 'symlink', path: to, target: await readlink(from) });
    else if (item.isFile()) entries.push({ kind: 'file', path: to, source: from });
  }
  return entries;
}

async function packageLinks(nodeModules: string): Promise<string[]> {
  const links: string[] = [];
  for (const item of await readdir(nodeModules, { withFileTypes: true }).catch(() => [])) {
    const path = join(nodeModules, item.name);
    if (item.isSymbolicLink()) links.push(path);
    else if (item.isDirectory() && item.name.startsWith('@')) links.push(...(await packageLinks(path)));
  }
  return links;
}
