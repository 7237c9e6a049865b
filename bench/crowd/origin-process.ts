/** The origin as a process of its own: `origin-process ADDRESS PORT LAYERS LAYER_BYTES`. It counts what it sends. */
import { FaultOrigin } from '../../test/support/fault-origin.ts';
import { buildImage } from '../../test/support/image-fixture.ts';
import { endWithRig, tell, tellFailure } from '../rig/messages.ts';

export interface OriginObject {
  /** `tag`, `manifest`, `config`, `layer 1`… */
  readonly name: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface OriginReady {
  readonly type: 'ready';
  readonly url: string;
  readonly repository: string;
  readonly tag: string;
  readonly objects: readonly OriginObject[];
}

export interface OriginCounts {
  readonly type: 'counts';
  /** Bytes of bodies. */
  readonly bytes: number;
  readonly requests: number;
  /** One object each; requests that name the tag count for the tag. */
  readonly perObject: readonly { readonly name: string; readonly requests: number; readonly bytes: number }[];
}

async function serve([address, port, layers, layerBytes]: readonly string[]): Promise<void> {
  const share = Math.floor(Number(layerBytes) / Number(layers));
  const rest = Number(layerBytes) - share * (Number(layers) - 1);
  const sizes = Array.from({ length: Number(layers) }, (_, layer) => (layer === 0 ? rest : share));
  const image = await buildImage({ seed: 'crowd', repository: 'library/crowd', layers: sizes });
  const origin = await FaultOrigin.start({ host: address!, port: Number(port) });
  origin.add(image);
  const objects: OriginObject[] = [
    { name: 'manifest', digest: image.manifest.digest, sizeBytes: image.manifest.bytes.length },
    { name: 'config', digest: image.config.digest, sizeBytes: image.config.sizeBytes },
    ...image.layers.map(({ digest, sizeBytes }, index) => ({ name: `layer ${index + 1}`, digest, sizeBytes })),
  ];
  const tagPath = `/v2/${image.repository}/manifests/${image.tag}`;

  process.on('message', () => {
    const { requests, bytes, byDigest, byPath } = origin.stats();
    const byTag = byPath[tagPath] ?? { requests: 0, bytes: 0 };
    const counts = objects.map(({ name, digest }) => {
      const { requests: asked, bytes: sent } = byDigest[digest as keyof typeof byDigest] ?? { requests: 0, bytes: 0 };
      const viaTag = name === 'manifest' ? byTag : { requests: 0, bytes: 0 };
      return { name, requests: asked - viaTag.requests, bytes: sent - viaTag.bytes };
    });
    const perObject = [{ name: 'tag', ...byTag }, ...counts];
    tell<OriginCounts>({ type: 'counts', requests, bytes, perObject });
  });
  const { url } = origin;
  tell<OriginReady>({ type: 'ready', url, repository: image.repository, tag: image.tag, objects });
}

endWithRig();
serve(process.argv.slice(2)).catch(tellFailure);
