/** The rooms behind the page, with members that say what a test has them say. */
import type { BlobId } from '@shoal/oci';
import { seededRandom } from '@shoal/swarm';
import type { NodeReport, ReportedPull } from '@shoal/wire';
import { Directory } from '../directory/directory.ts';
import { ActiveBlobs } from './active-blobs.ts';
import { NodeReports } from './node-reports.ts';
import { Rollouts } from './rollouts.ts';

export function blobOf(index: number, registry = 'a.test'): BlobId {
  return `${registry}/sha256:${index.toString(16).padStart(64, '0')}` as BlobId;
}

export function pullOf(blob: BlobId, heldBytes: number, more: Partial<ReportedPull> = {}): ReportedPull {
  return { blob, repository: 'org/app', sizeBytes: 1_000, heldBytes, fromOrigin: 0, fromPeers: heldBytes, ...more };
}

export function reportOf(pulls: ReportedPull[] = [], more: Partial<NodeReport> = {}): NodeReport {
  const bytes = { fromOrigin: 0, fromPeers: 0, toPeers: 0, toClients: 0 };
  return { version: '1.2.3', links: 3, pulls, bytes, cache: { bytes: 10, quotaBytes: 100, blobs: 1 }, ...more };
}

export class DashboardRooms {
  readonly directory: Directory = new Directory(
    { sampleSize: 24 },
    { random: seededRandom(1), isShunned: () => false },
  );
  readonly blobs: ActiveBlobs = new ActiveBlobs({ maxBlobs: 64 });
  readonly reports: NodeReports = new NodeReports({ directory: this.directory, blobs: this.blobs });
  readonly rollouts: Rollouts = new Rollouts({ directory: this.directory, reports: this.reports, blobs: this.blobs });

  say(peerId: string, state: 'want' | 'have', blobs: BlobId | BlobId[], nowMs = 0, name?: string): void {
    const all = [blobs].flat().map((blob) => ({ blob, state }));
    const zone = 'zone-a';
    this.directory.announce({ peerId, zone }, { addresses: [], blobs: all, withdraw: [], name }, nowMs);
  }
}
