import { parsePlatform } from '@shoal/oci';
import { beforeEach, expect, test } from 'vitest';
import { walkImage } from './image-walk.ts';
import { MemoryRegistry, type Named } from './registry.fixture.ts';

let registry: MemoryRegistry;
const read: string[] = [];

beforeEach(() => {
  registry = new MemoryRegistry();
  read.length = 0;
});

async function walked(root: Named, platform: string): Promise<string[]> {
  const wanted = platform === 'all' ? 'all' : parsePlatform(platform)!;
  const blobs = await walkImage({ ...root, sizeBytes: root.size }, wanted, (manifest) => {
    read.push(manifest.digest);
    return registry.manifest(manifest);
  });
  return blobs.map(({ digest }) => registry.contents.get(digest)!.toString().slice(0, 9)).sort();
}

test('an image without an index is taken as it is, whatever platform is asked for', async () => {
  expect(await walked(registry.image(registry.blob('layer one'), registry.blob('layer two')), 'linux/s390x')).toEqual([
    'config of',
    'layer one',
    'layer two',
  ]);
});

test('of an index the platform alone is read, and neither attestations nor other machines’ images', async () => {
  const [amd, arm] = [registry.image(registry.blob('for amd64')), registry.image(registry.blob('for arm64'))];
  const attestation = registry.image(registry.blob('in-toto  '));
  const index = registry.index([attestation, 'unknown/unknown'], [arm, 'linux/arm64'], [amd, 'linux/amd64']);
  expect(await walked(index, 'linux/amd64')).toEqual(['config of', 'for amd64']);
  expect(read).toEqual([index.digest, amd.digest]);
  expect(await walked(index, 'all')).toEqual([...Array(3).fill('config of'), 'for amd64', 'for arm64', 'in-toto  ']);
});

test('an index within an index is followed, and one that contains itself many times over ends', async () => {
  const amd = registry.image(registry.blob('for amd64'));
  const inner = registry.index([amd, 'linux/amd64']);
  expect(await walked(registry.index([inner]), 'linux/amd64')).toEqual(['config of', 'for amd64']);
  let deep = inner;
  for (let depth = 0; depth < 5; depth++) deep = registry.index([deep]);
  await expect(walked(deep, 'linux/amd64')).rejects.toMatchObject({ code: 'bad-manifest' });
});

test('a platform that the index has not is refused with those that it has', async () => {
  const index = registry.index([registry.image(), 'linux/arm64'], [registry.image(), 'windows/amd64']);
  await expect(walked(index, 'linux/amd64')).rejects.toThrow(
    'no image for linux/amd64; there is linux/arm64, windows/amd64',
  );
});

test('layers that are not the registry’s own are left out, and each blob is named once', async () => {
  const layer = registry.blob('layer one');
  const foreign = { ...registry.blob('elsewhere'), urls: ['https://elsewhere.test/x'] };
  expect(await walked(registry.image(layer, foreign, layer), 'linux/amd64')).toEqual(['config of', 'layer one']);
});

test('what is no manifest is refused', async () => {
  await expect(walked(registry.blob('not JSON'), 'linux/amd64')).rejects.toMatchObject({ code: 'bad-manifest' });
  const many = registry.index(
    ...Array.from({ length: 300 }, (_, at): [Named] => [registry.image(registry.blob(`${at}`))]),
  );
  await expect(walked(many, 'all')).rejects.toMatchObject({ code: 'bad-manifest' });
});
