import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { smallImage, testFolder } from './demo-folder.fixture.ts';
import type { WrittenImage } from './image-layout.ts';

async function blob(image: WrittenImage, digest: string): Promise<Buffer> {
  return await readFile(join(image.folder, 'blobs', 'sha256', digest.slice('sha256:'.length)));
}

async function extract(image: WrittenImage): Promise<string> {
  const root = join(await testFolder(), 'root');
  await mkdir(root);
  for (const { digest } of image.layers) {
    const file = join(image.folder, 'blobs', 'sha256', digest.slice('sha256:'.length));
    await promisify(execFile)('tar', ['-xpf', file, '-C', root]);
  }
  return root;
}

test('every file in blobs has the digest that is its name, and nothing else is left there', async () => {
  const image = await smallImage();
  const names = await readdir(join(image.folder, 'blobs', 'sha256'));
  expect(names).toHaveLength(4);
  for (const name of names) {
    const bytes = await readFile(join(image.folder, 'blobs', 'sha256', name));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(name);
  }
});

test('index, manifest and config name each other by digest and true size', async () => {
  const image = await smallImage();
  const index = JSON.parse(await readFile(join(image.folder, 'index.json'), 'utf8'));
  const manifestBytes = await blob(image, index.manifests[0].digest);
  expect(index.manifests[0].size).toBe(manifestBytes.length);
  expect(index.manifests[0].annotations).toEqual({ 'org.opencontainers.image.ref.name': 'latest' });
  const manifest = JSON.parse(manifestBytes.toString());
  const config = JSON.parse((await blob(image, manifest.config.digest)).toString());
  for (const layer of manifest.layers) expect((await blob(image, layer.digest)).length).toBe(layer.size);
  // Uncompressed, so the digest of the tar is the digest of the layer.
  expect(config.rootfs.diff_ids).toEqual(manifest.layers.map((layer: { digest: string }) => layer.digest));
  expect(config.history).toHaveLength(config.rootfs.diff_ids.length);
  expect(JSON.parse(await readFile(join(image.folder, 'oci-layout'), 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' });
});

test('the total is the bytes of manifest, config and layers', async () => {
  const image = await smallImage();
  const sizes = await Promise.all(
    [image.manifest, image.config, ...image.layers].map(async ({ digest }) => (await blob(image, digest)).length),
  );
  expect(image.totalBytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
});

test('the same files give the same digests', async () => {
  const [one, two] = await Promise.all([smallImage(), smallImage()]);
  expect(two.manifest.digest).toBe(one.manifest.digest);
});

test('the layers extract with the system tar: contents, modes, links, dates', async () => {
  const root = await extract(await smallImage(3_000_001));
  expect(await readFile(join(root, 'etc/greeting'), 'utf8')).toBe('hello\n');
  expect(await readlink(join(root, 'etc/link'))).toBe('greeting');
  expect((await stat(join(root, 'tmp'))).mode & 0o7777).toBe(0o1777);
  const big = await stat(join(root, 'opt/big'));
  expect(big.size).toBe(3_000_001);
  expect(big.mode & 0o777).toBe(0o755);
  expect(big.mtimeMs).toBe(0);
});
