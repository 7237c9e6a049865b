/** How large a blob is, from whoever knows first: the manifest that names it, the origin, or a peer that holds it. */
import { type BlobId, digestOf } from '@shoal/oci';
import type { PeerRecord } from '@shoal/wire';
import type { OriginClient } from '../origin/origin-client.ts';
import type { PeerNetwork } from '../peers/peer-network.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import { callFor, type PullSource } from './pulls.ts';

/** How long peers are waited for after the origin failed. */
const PEERS_WITHIN_MS = 2_000;

export interface SizedBlob {
  blob: BlobId;
  sizeBytes: number;
}

export interface SizeSources {
  origin: OriginClient;
  network: PeerNetwork;
  tracker: TrackerClient;
  /** Members that hold or want the blob. */
  onPeers: (peers: readonly PeerRecord[]) => void;
}

/**
 * Undefined when the origin has the blob but does not say its size, and no peer does.
 * @throws OriginError when the origin does not serve it and no peer holds it
 */
export async function findSize(
  blob: BlobId,
  source: PullSource,
  { origin, network, tracker, onPeers }: SizeSources,
  deadline: AbortSignal,
): Promise<number | undefined> {
  if (source.sizeHintBytes !== undefined) return source.sizeHintBytes;
  const digest = digestOf(blob);
  const stop = new AbortController();
  const call = callFor(source, AbortSignal.any([deadline, stop.signal]));
  let want: { close(): void } | undefined;
  const fromPeer = new Promise<number>((resolve) => {
    want = network.want(blob, {
      map: (_peer, _zone, sizeBytes) => resolve(sizeBytes),
      wants: () => {},
      haves: () => {},
      gone: () => {},
    });
  });
  void tracker.want([blob]).then((found) => onPeers(found?.get(blob) ?? []));
  const fromOrigin =
    source.kind === 'manifest'
      ? origin.resolve(source.repository, digest, source.accept ?? '*/*', call).then(({ sizeBytes }) => sizeBytes)
      : origin.stat(source.repository, digest, call).then(({ sizeBytes }) => sizeBytes);
  const fromOriginOrLatePeer = fromOrigin.catch(async (error: unknown) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(error), PEERS_WITHIN_MS);
    });
    return await Promise.race([fromPeer, late]).finally(() => clearTimeout(timer));
  });
  try {
    return await Promise.race([fromPeer, fromOriginOrLatePeer]);
  } finally {
    stop.abort();
    want?.close();
    // The loser of the race may still reject.
    fromOriginOrLatePeer.catch(() => {});
  }
}
