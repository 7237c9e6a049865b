import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { findCheckout } from './checkout.ts';
import { testFolder } from './demo-folder.fixture.ts';
import { buildDemoImage, planDemoImage } from './image.ts';
import { writeLayer } from './layer.ts';

async function put(path: string, text: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, text);
}

/** A workspace as pnpm lays it out: `app` uses `left`, `left` uses `right`, and a tool hangs on the root. */
async function smallCheckout(): Promise<string> {
  const root = await mkdtemp(join(await testFolder(), 'checkout-'));
  await put(join(root, 'pnpm-workspace.yaml'), '');
  const store = join(root, 'node_modules/.pnpm');
  for (const [name, version] of [
    ['left', '1.0.0'],
    ['right', '2.0.0'],
    ['typescript', '7.0.0'],
    ['unrelated', '1.0.0'],
  ]) {
    await put(join(store, `${name}@${version}/node_modules/${name}/index.js`), `// ${name}`);
  }
  await symlink('../../right@2.0.0/node_modules/right', join(store, 'left@1.0.0/node_modules/right'));
  await symlink('.pnpm/typescript@7.0.0/node_modules/typescript', join(root, 'node_modules/typescript'));
  for (const name of ['oci', 'swarm', 'wire', 'agent', 'tracker', 'cli']) {
    await put(join(root, 'packages', name, 'src/index.ts'), `// ${name}`);
  }
  await mkdir(join(root, 'packages/cli/node_modules/@shoal'), { recursive: true });
  await symlink('../../../oci', join(root, 'packages/cli/node_modules/@shoal/oci'));
  const left = '../../../node_modules/.pnpm/left@1.0.0/node_modules/left';
  await symlink(left, join(root, 'packages/cli/node_modules/left'));
  await put(join(root, 'packages/cli/dist/index.js'), 'built');
  return root;
}

async function plannedPaths(): Promise<string[][]> {
  const checkout = await smallCheckout();
  const plan = await planDemoImage(checkout, {
    tag: 'latest',
    nodeBinary: process.execPath,
    platform: process.platform,
    arch: process.arch,
    start: checkout,
  });
  return plan.layers.map((layer) => layer.entries.map((entry) => entry.path));
}

test('the checkout is found from any folder inside it', async () => {
  const checkout = await smallCheckout();
  expect(await findCheckout(join(checkout, 'packages/cli/src'))).toBe(checkout);
  expect(await findCheckout(join(checkout, '..'))).toBeUndefined();
});

test('the libraries layer has what Shoal needs, through the links, and no more', async () => {
  const [, , libraries] = await plannedPaths();
  expect(libraries).toContain('app/node_modules/.pnpm/left@1.0.0/node_modules/left/index.js');
  expect(libraries).toContain('app/node_modules/.pnpm/right@2.0.0/node_modules/right/index.js');
  expect(libraries?.filter((path) => path.includes('unrelated') || path.includes('typescript'))).toEqual([]);
});

test('tools and app are layers of their own, and nothing built is in the app', async () => {
  const [, , , tools, app] = await plannedPaths();
  expect(tools).toEqual(['app/node_modules/.pnpm/typescript@7.0.0/node_modules/typescript/index.js']);
  expect(app).toContain('app/packages/cli/src/index.ts');
  expect(app).toContain('app/packages/cli/node_modules/@shoal/oci');
  expect(app?.filter((path) => path.includes('/dist/'))).toEqual([]);
});

test.runIf(process.platform === 'linux')('the base layer has the C library and the loader of this Node', async () => {
  const [base] = await plannedPaths();
  expect(base?.some((path) => /\/libc\.so/.test(path) || /libc\.musl/.test(path))).toBe(true);
  expect(base?.some((path) => /\/ld-(linux|musl)/.test(path))).toBe(true);
});

test('outside a checkout it says what to do', async () => {
  const folder = await testFolder();
  const options = { folder, tag: 't', nodeBinary: process.execPath, platform: 'linux', arch: 'x64', start: folder };
  await expect(buildDemoImage(options)).rejects.toThrow('--image');
});

test('a file that is missing fails the layer and leaves no draft', async () => {
  const folder = await testFolder();
  const entries = [{ kind: 'file', path: 'a', source: join(folder, 'none') }] as const;
  await expect(writeLayer(entries, folder)).rejects.toThrow('ENOENT');
  const { stdout } = await promisify(execFile)('find', [folder, '-type', 'f']);
  expect(stdout).toBe('');
});
