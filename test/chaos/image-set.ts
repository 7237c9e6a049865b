/** The images that the nodes pull: large layers, many small ones, a base that several share, one for each node alone. */
import { type BenchImage, type BenchLayer, buildLayer, pushImage } from '../../bench/rollout/image.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const BASE_BYTES = 4 * MiB;
const SHARED: Readonly<Record<string, readonly number[]>> = {
  large: [12 * MiB, 11 * MiB],
  mixed: [8 * MiB, 2 * MiB, 300 * KiB, 5],
  small: Array.from({ length: 24 }, (_, index) => (index + 1) * 20 * KiB),
};
export const SHARED_IMAGES: number = Object.keys(SHARED).length;
const OWN_BYTES = 6 * MiB;

export interface ImageSet {
  /** Every node pulls them. */
  readonly shared: readonly BenchImage[];
  /** One for each node, by index; only that one pulls it while faults go on. */
  readonly own: readonly BenchImage[];
}

/** Pushes all of them to a registry. @param folder takes the layers' files and is the caller's to remove */
export async function pushImages(url: string, folder: string, nodes: number): Promise<ImageSet> {
  const base = await buildLayer(folder, 'base', BASE_BYTES);
  const push = async (name: string, sizes: readonly number[], below: readonly BenchLayer[]): Promise<BenchImage> => {
    const layers = [...below];
    for (const [index, bytes] of sizes.entries()) layers.push(await buildLayer(folder, `${name}-${index}`, bytes));
    return await pushImage(url, `chaos/${name}`, 'v1', layers);
  };
  const shared: BenchImage[] = [];
  for (const [name, sizes] of Object.entries(SHARED)) shared.push(await push(name, sizes, []));
  const own: BenchImage[] = [];
  for (let index = 0; index < nodes; index++) own.push(await push(`own-${index + 1}`, [OWN_BYTES], [base]));
  return { shared, own };
}

/** The digests of all its blobs. */
export function digestsOf({ manifest, config, layers }: BenchImage): string[] {
  return [manifest, config, ...layers].map(({ digest }) => digest);
}
