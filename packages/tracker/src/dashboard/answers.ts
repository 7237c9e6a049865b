/** What the page is told, as JSON. All sizes in bytes, all times in milliseconds; strings come from members, so nothing in them is to be believed or run. */

export interface DashboardState {
  nowMs: number;
  tracker: { version: string; upMs: number };
  cluster: ClusterCounts;
  /** Since the tracker started, as far as agents said. */
  bytes: MovedBytes;
  cache: { bytes: number; quotaBytes: number };
  traffic: { everyMs: number; samples: TrafficSample[] };
  /** The latest first. */
  rollouts: Rollout[];
  /** Rollouts that are not among them. */
  rolloutsLeftOut: number;
}

export interface ClusterCounts {
  /** That announced themselves lately. */
  members: number;
  /** Of these, those that told lately how they are. */
  reporting: number;
  suspended: number;
  barred: number;
  /** That at least one member holds or wants. */
  blobs: number;
  /** Reads of the registry that are under way. */
  leases: number;
  /** Orders to prefetch that are under way. */
  orders: number;
}

export interface MovedBytes {
  fromOrigin: number;
  fromPeers: number;
  toClients: number;
}

/** What moved in the `everyMs` from then on. */
export interface TrafficSample extends MovedBytes {
  atMs: number;
}

/** What is pulled from one repository of a registry, or one blob of which no repository was told. */
export interface Rollout {
  /** `ghcr.io/org/app`, or a blob. */
  name: string;
  startedAtMs: number;
  /** Nothing of it is being pulled any more. */
  ended: boolean;
  blobs: RolloutBlob[];
  /** Blobs that are not among them. */
  blobsLeftOut: number;
  /** Those that have all they want of it, and all of them. */
  nodesDone: number;
  nodesTotal: number;
  heldBytes: number;
  totalBytes: number;
  /** Those that are furthest behind first. */
  nodes: RolloutNode[];
}

export interface RolloutBlob {
  blob: string;
  sizeBytes: number;
  holding: number;
  wanting: number;
}

export interface RolloutNode {
  name: string;
  zone: string;
  state: 'done' | 'pulling' | 'waiting';
  heldBytes: number;
  totalBytes: number;
  /** As of its last report. */
  fromOrigin: number;
  fromPeers: number;
}

export interface MembersPage {
  /** That fit the search. */
  total: number;
  page: number;
  pages: number;
  members: MemberRow[];
}

/** What only its reports tell is left out for a member that sends none. */
export interface MemberRow {
  peerId: string;
  name: string;
  zone: string;
  heardMsAgo: number;
  suspended: boolean;
  version?: string;
  links?: number;
  pulls?: number;
  cacheBytes?: number;
  quotaBytes?: number;
  fromOrigin?: number;
  fromPeers?: number;
  toPeers?: number;
  toClients?: number;
}

export interface HeldContent {
  images: HeldImage[];
  blobs: HeldBlob[];
  /** There is more than was looked at, or than is told. */
  partial: boolean;
}

export interface Holders {
  holding: number;
  wanting: number;
  /** Some of those that hold it. */
  nodes: string[];
}

/** A tag, and who holds its manifest. */
export interface HeldImage extends Holders {
  image: string;
  digest: string;
  resolvedAtMs: number;
}

export interface HeldBlob extends Holders {
  blob: string;
  sizeBytes?: number;
  repository?: string;
}
