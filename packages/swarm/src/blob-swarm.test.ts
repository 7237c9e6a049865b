/**
 * Whole swarms under virtual time: real `BlobSwarm`s and a real `LeaseTable`, joined by a toy network that can lose peers,
 * corrupt pieces and break the origin. A seed reproduces a run; a failing property prints it.
 */
import type { BlobId } from '@shoal/oci';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlobSwarm } from './blob-swarm.ts';
import { LeaseTable } from './lease-table.ts';
import { PieceMap } from './piece-map.ts';
import { type Random, seededRandom } from './random.ts';
import type { LeaseSource, SwarmAction, SwarmEvent } from './swarm-event.ts';
import { type BlobSwarmOptions, DEFAULT_SWARM_OPTIONS } from './swarm-options.ts';

interface Node {
  id: string;
  swarm: BlobSwarm;
  have: PieceMap;
  run: number;
  runEnd: number;
  outcome: 'running' | 'complete' | string;
  dead: boolean;
  corrupt: boolean;
  fetches: Map<string, number>;
}

interface Plan {
  nodes: number;
  pieces: number;
  seed: number;
  /** Milliseconds a piece takes from the origin, and from a peer. */
  originMs: number;
  peerMs: number;
  tracker: boolean;
  deaths?: number;
  corrupt?: number;
  /** The origin fails this many times before it serves. */
  originFailures?: number;
  originRefuses?: boolean;
  /** Nodes that hold everything from the start. */
  seeds?: number;
}

class World {
  now = 0;
  originPieces = 0;
  accepted = 0;
  readonly nodes: Node[] = [];
  readonly #queue: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  readonly #random: Random;
  readonly #leases: LeaseTable;
  #originFailures: number;
  readonly plan: Plan;

  constructor(plan: Plan) {
    this.plan = plan;
    this.#random = seededRandom(plan.seed);
    this.#originFailures = plan.originFailures ?? 0;
    let leaseIds = 0;
    this.#leases = new LeaseTable({ leaseTtlMs: 2_000 }, { newLeaseId: () => `lease-${++leaseIds}` });
    for (let index = 0; index < plan.nodes; index++) {
      const have = index < (plan.seeds ?? 0) ? PieceMap.full(plan.pieces) : PieceMap.empty(plan.pieces);
      const id = `n${index}`;
      const { pieces: pieceCount } = plan;
      const options = { ...DEFAULT_SWARM_OPTIONS, pieceCount, zone: 'z', maxInFlight: 8, self: id, blob: BLOB };
      this.nodes.push({
        id,
        swarm: new BlobSwarm(options, have, seededRandom(plan.seed + index), 0),
        have,
        run: 0,
        runEnd: 0,
        outcome: have.complete ? 'complete' : 'running',
        dead: false,
        corrupt: index >= (plan.seeds ?? 0) && index - (plan.seeds ?? 0) < (plan.corrupt ?? 0),
        fetches: new Map(),
      });
    }
  }

  /** Runs until every living node is done, or the limit. */
  play(limitMs: number): void {
    for (const node of this.nodes) {
      if (node.outcome !== 'running') continue;
      for (const other of this.nodes) if (other !== node) this.#showMap(other, node);
      this.#tick(node);
      this.send(node, { type: 'reader', reader: 1, index: 0 });
    }
    for (let death = 0; death < (this.plan.deaths ?? 0); death++) {
      this.#at(Math.floor(this.#random() * 1_000), () => this.#kill());
    }
    while (this.now < limitMs && this.nodes.some((node) => node.outcome === 'running' && !node.dead)) {
      this.#queue.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.now = next.at;
      next.run();
    }
  }

  send(node: Node, event: SwarmEvent): void {
    if (node.dead || node.outcome !== 'running') return;
    for (const action of node.swarm.handle(event, this.now)) this.#do(node, action);
  }

  #tick(node: Node): void {
    this.send(node, { type: 'tick' });
    if (!node.dead && node.outcome === 'running') this.#at(100, () => this.#tick(node));
  }

  #kill(): void {
    const alive = this.nodes.filter((node) => !node.dead);
    const victim = alive[Math.floor(this.#random() * alive.length)];
    if (victim === undefined || alive.length < 2) return;
    victim.dead = true;
    for (const node of alive) this.send(node, { type: 'peer-gone', peer: victim.id });
  }

  #showMap(from: Node, to: Node): void {
    this.#at(5, () => {
      if (!from.dead) this.send(to, { type: 'peer-map', peer: from.id, zone: 'z', pieces: from.have.clone() });
    });
  }

  #at(delayMs: number, run: () => void): void {
    this.#queue.push({ at: this.now + delayMs, order: this.#order++, run });
  }

  #do(node: Node, action: SwarmAction): void {
    switch (action.type) {
      case 'fetch':
        this.#fetch(node, action.peer, action.index);
        return;
      case 'cancel':
        node.fetches.delete(`${action.peer} ${action.index}`);
        return;
      case 'ask-lease':
        this.#at(2, () => this.#lease(node, action));
        return;
      case 'read-origin':
        node.runEnd = action.to;
        this.#readOrigin(node, ++node.run, action.from);
        return;
      case 'limit-origin':
        node.runEnd = action.to;
        return;
      case 'stop-origin':
        node.run++;
        return;
      case 'release-lease':
        this.#leases.release(action.leaseId, node.id, action, this.now);
        return;
      case 'complete':
        node.outcome = 'complete';
        return;
      case 'give-up':
        node.outcome = action.why;
        return;
      case 'find-peers':
        return;
    }
  }

  #lease(node: Node, { starved, piece, avoid }: Extract<SwarmAction, { type: 'ask-lease' }>): void {
    if (!this.plan.tracker) {
      this.send(node, { type: 'lease-unavailable' });
      return;
    }
    const sizeBytes = this.plan.pieces * PIECE_BYTES;
    const holders = this.nodes.filter((other) => other !== node && !other.dead && other.have.complete);
    const complete = { sameZone: holders.map(({ id }) => id), otherZones: [] };
    const ask = { blob: BLOB, agent: node.id, zone: 'z', registry: 'r', sizeBytes, starved, avoid, complete };
    const answer = this.#leases.request(piece === undefined ? ask : { ...ask, piece }, this.now);
    if (answer.granted) {
      const { leaseId, from, to, source } = answer;
      this.send(node, { type: 'lease-granted', leaseId, from, to, source });
      this.#renew(node, leaseId);
    } else {
      this.send(node, { type: 'lease-refused', retryAfterMs: answer.retryAfterMs });
    }
  }

  #renew(node: Node, leaseId: string): void {
    const progress = node.swarm.leaseProgress(leaseId);
    if (node.dead || node.outcome !== 'running' || progress === undefined) return;
    const { held, to } = this.#leases.renew(
      leaseId,
      node.id,
      { bytes: progress.held, next: progress.next, ranges: true },
      this.now,
    );
    if (held) {
      this.send(node, { type: 'lease-changed', leaseId, to });
      this.#at(500, () => this.#renew(node, leaseId));
    } else {
      this.send(node, { type: 'lease-lost', leaseId });
    }
  }

  #readOrigin(node: Node, run: number, from: number): void {
    if (this.plan.originRefuses === true || this.#originFailures > 0) {
      const how = this.plan.originRefuses === true ? 'refused' : 'failed';
      this.#originFailures--;
      this.#at(1, () => {
        if (node.run === run) this.send(node, { type: 'origin-ended', how });
      });
      return;
    }
    this.#at(this.plan.originMs, () => {
      if (node.run !== run || node.dead) return;
      if (from >= node.runEnd) {
        this.send(node, { type: 'origin-ended', how: 'done' });
        return;
      }
      this.originPieces++;
      this.#arrived(node, from, 'origin');
      if (node.run === run) this.#readOrigin(node, run, from + 1);
    });
  }

  #fetch(node: Node, peer: string, index: number): void {
    const key = `${peer} ${index}`;
    node.fetches.set(key, this.now);
    const source = this.nodes.find(({ id }) => id === peer);
    this.#at(source?.dead === true ? 2_000 : this.plan.peerMs, () => {
      if (!node.fetches.delete(key) || source === undefined) return;
      if (source.dead || source.corrupt) {
        this.send(node, { type: 'fetch-failed', peer, index, why: source.dead ? 'slow' : 'corrupt' });
        return;
      }
      expect(source.have.has(index)).toBe(true);
      this.#arrived(node, index, peer);
    });
  }

  #arrived(node: Node, index: number, from: string): void {
    const fresh = node.have.add(index);
    if (fresh) this.accepted++;
    this.send(node, { type: 'piece', index, from });
    this.send(node, { type: 'reader', reader: 1, index: node.have.firstMissing() });
    if (!fresh) return;
    for (const other of this.nodes) {
      if (other !== node)
        this.#at(5, () => {
          if (!node.dead) this.send(other, { type: 'peer-have', peer: node.id, indexes: [index] });
        });
    }
  }
}

function play(plan: Plan, limitMs = 120_000): World {
  const world = new World(plan);
  world.play(limitMs);
  return world;
}

const PIECE_BYTES = 256 * 1024;
const BLOB = `a.test/sha256:${'0'.repeat(64)}` as BlobId;

const BASE: Plan = { nodes: 4, pieces: 40, seed: 1, originMs: 10, peerMs: 8, tracker: true };

describe('a swarm', () => {
  it('reads each piece from the origin once, however many nodes want the blob', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 80 }),
        (seed, nodes, pieces) => {
          const world = play({ ...BASE, seed, nodes, pieces });
          expect(world.nodes.map(({ outcome }) => outcome)).toEqual(world.nodes.map(() => 'complete'));
          expect(world.originPieces).toBe(pieces);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('reads nothing from the origin when a member holds the blob', () => {
    const world = play({ ...BASE, seeds: 1 });
    expect(world.nodes.every(({ outcome }) => outcome === 'complete')).toBe(true);
    expect(world.originPieces).toBeLessThanOrEqual(1);
  });

  it('completes for everybody who lives, whoever dies', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 6 }), (seed, deaths) => {
        const world = play({ ...BASE, nodes: 8, seed, deaths });
        for (const node of world.nodes) if (!node.dead) expect(node.outcome).toBe('complete');
        expect(world.originPieces).toBeLessThanOrEqual(BASE.pieces * (deaths + 1));
      }),
      { numRuns: 60 },
    );
  });

  it('completes without a tracker', () => {
    const world = play({ ...BASE, tracker: false });
    expect(world.nodes.every(({ outcome }) => outcome === 'complete')).toBe(true);
    expect(world.originPieces).toBe(BASE.pieces);
  });

  it('completes when every other member sends pieces that do not verify', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const world = play({ ...BASE, nodes: 4, corrupt: 3, seed });
        expect(world.nodes.every(({ outcome }) => outcome === 'complete')).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it('tries an origin that fails again, and gives up soon on one that refuses', () => {
    expect(play({ ...BASE, originFailures: 5 }).nodes.every(({ outcome }) => outcome === 'complete')).toBe(true);
    const refused = play({ ...BASE, originRefuses: true });
    expect(refused.nodes.every(({ outcome }) => outcome === 'origin-refused')).toBe(true);
    expect(refused.now).toBeLessThan(10_000);
  });

  it('lets members supply what the origin refuses', () => {
    const world = play({ ...BASE, originRefuses: true, seeds: 1 });
    expect(world.nodes.every(({ outcome }) => outcome === 'complete')).toBe(true);
  });

  it('plays the same run for the same seed', () => {
    const runs = [play({ ...BASE, nodes: 6, deaths: 2, seed: 7 }), play({ ...BASE, nodes: 6, deaths: 2, seed: 7 })];
    expect(runs[0]?.now).toBe(runs[1]?.now);
    expect(runs[0]?.originPieces).toBe(runs[1]?.originPieces);
  });
});

describe('one agent', () => {
  const ask = (starved: boolean, piece: number): unknown =>
    expect.objectContaining({ type: 'ask-lease', starved, piece, avoid: [], silent: [] });

  function agent(pieces = 10, options: Partial<BlobSwarmOptions> = {}, seed = 1): BlobSwarm {
    const defaults = {
      ...DEFAULT_SWARM_OPTIONS,
      pieceCount: pieces,
      zone: 'z',
      maxInFlight: 8,
      self: 'me',
      blob: BLOB,
      listenMs: 0,
    };
    return new BlobSwarm({ ...defaults, ...options }, PieceMap.empty(pieces), seededRandom(seed), 0);
  }

  function lease(from: number, to: number, source: LeaseSource = 'origin'): SwarmEvent {
    return { type: 'lease-granted', leaseId: `l${from}`, from, to, source };
  }

  it('asks for a starved lease when a reader waits 2 s for a piece that a peer owes, and reads it whoever offers', () => {
    const swarm = agent();
    swarm.handle({ type: 'peer-map', peer: 'p', zone: 'z', pieces: PieceMap.full(10) }, 0);
    swarm.handle({ type: 'reader', reader: 1, index: 0 }, 0);
    swarm.handle({ type: 'tick' }, 0);
    expect(swarm.handle({ type: 'tick' }, 1_900)).not.toContainEqual(ask(true, 0));
    expect(swarm.handle({ type: 'tick' }, 2_000)).toContainEqual(ask(true, 0));
    expect(swarm.handle(lease(0, 8), 2_010)).toContainEqual({ type: 'read-origin', from: 0, to: 8, whole: false });
  });

  it('counts what a peer holds as missing while that one does not answer, and tells the tracker so', () => {
    const swarm = agent();
    swarm.handle({ type: 'peer-map', peer: 'p', zone: 'z', pieces: PieceMap.full(10) }, 0);
    const asksLease = (action: SwarmAction): boolean => action.type === 'ask-lease';
    expect(swarm.handle({ type: 'tick' }, 100).some(asksLease)).toBe(false);
    const asked = swarm.handle({ type: 'fetch-failed', peer: 'p', index: 0, why: 'slow' }, 2_000).find(asksLease);
    expect(asked).toMatchObject({ starved: false, silent: ['p'] });
    // Not starved, and yet it is read whatever that peer says that it holds.
    const granted = swarm.handle(lease(0, 10), 2_010);
    expect(granted.some(({ type }) => type === 'read-origin')).toBe(true);
    swarm.handle({ type: 'origin-ended', how: 'failed' }, 2_020);
    // After its rest it gets another chance.
    const next = swarm.handle({ type: 'tick' }, 3_100);
    expect(next.some((action) => action.type === 'fetch' && action.peer === 'p')).toBe(true);
  });

  it('does not fall for a peer again and again that leaves whenever it is asked', () => {
    const swarm = agent();
    const comes: SwarmEvent = { type: 'peer-map', peer: 'p', zone: 'z', pieces: PieceMap.full(10) };
    expect(swarm.handle(comes, 0).some(({ type }) => type === 'fetch')).toBe(true);
    const left = swarm.handle({ type: 'peer-gone', peer: 'p' }, 50);
    expect(left.find(({ type }) => type === 'ask-lease')).toMatchObject({ silent: ['p'] });
    expect(swarm.handle(comes, 100).some(({ type }) => type === 'fetch')).toBe(false);
    expect(swarm.handle({ type: 'tick' }, 1_200).some(({ type }) => type === 'fetch')).toBe(true);
    swarm.handle({ type: 'peer-gone', peer: 'p' }, 1_300);
    // The second time it rests for longer.
    swarm.handle(comes, 1_400);
    expect(swarm.handle({ type: 'tick' }, 2_500).some(({ type }) => type === 'fetch')).toBe(false);
  });

  it('goes to the origin although a peer that offers everything comes and goes', () => {
    const swarm = agent();
    swarm.handle({ type: 'reader', reader: 1, index: 0 }, 0);
    swarm.handle({ type: 'lease-refused', retryAfterMs: 1_000 }, 0);
    const asked: number[] = [];
    for (let nowMs = 1; nowMs < 5_000; nowMs += 100) {
      const pieces = PieceMap.full(10);
      const event: SwarmEvent =
        nowMs % 1_000 === 1 ? { type: 'peer-map', peer: 'p', zone: 'z', pieces } : { type: 'tick' };
      const actions = [...swarm.handle(event, nowMs), ...swarm.handle({ type: 'peer-gone', peer: 'p' }, nowMs + 50)];
      if (actions.some((action) => action.type === 'ask-lease' && action.starved)) asked.push(nowMs);
      for (const action of actions) {
        if (action.type === 'ask-lease') swarm.handle({ type: 'lease-refused', retryAfterMs: 1_000 }, nowMs + 60);
      }
    }
    expect(asked[0]).toBeLessThan(3_500);
  });

  it('reads of a lease what nobody offers, and leaves the rest to peers', () => {
    const swarm = agent();
    const pieces = PieceMap.empty(10);
    pieces.add(2);
    swarm.handle({ type: 'peer-map', peer: 'p', zone: 'z', pieces }, 0);
    swarm.handle({ type: 'tick' }, 0);
    expect(swarm.handle(lease(0, 5), 1)).toContainEqual({ type: 'read-origin', from: 0, to: 2, whole: false });
    swarm.handle({ type: 'piece', index: 0, from: 'origin' }, 2);
    swarm.handle({ type: 'piece', index: 1, from: 'origin' }, 3);
    const next = swarm.handle({ type: 'origin-ended', how: 'done' }, 4);
    expect(next).toContainEqual({ type: 'read-origin', from: 3, to: 5, whole: false });
  });

  it('stops where its lease was cut, and reads on where it grew', () => {
    const swarm = agent();
    swarm.handle(lease(0, 4), 0);
    expect(swarm.handle({ type: 'lease-changed', leaseId: 'l0', to: 2 }, 1)).toContainEqual({
      type: 'limit-origin',
      to: 2,
    });
    expect(swarm.handle({ type: 'lease-changed', leaseId: 'l0', to: 10 }, 2)).toContainEqual({
      type: 'limit-origin',
      to: 10,
    });
  });

  describe('in a crowd that begins at the same moment', () => {
    const crowd = Array.from({ length: 20 }, (_, index) => `m${index}`);
    const begin = (index: number, neighbours: readonly string[]) => {
      const self = `m${index}`;
      const swarm = agent(40, { self, listenMs: 10, connected: crowd.length, clusterSize: 400 }, index);
      expect(swarm.handle({ type: 'tick' }, 0)).toEqual([]);
      for (const peer of neighbours) {
        if (peer !== self) swarm.handle({ type: 'peer-wants', peer, zone: 'z' }, 1);
      }
      return swarm;
    };
    const askedAtMs = (swarm: BlobSwarm): number => {
      for (let nowMs = 10; nowMs < 5_000; nowMs += 10) {
        if (swarm.handle({ type: 'tick' }, nowMs).some(({ type }) => type === 'ask-lease')) return nowMs;
      }
      return Number.POSITIVE_INFINITY;
    };

    it('they ask for a lease one after the other, the larger the crowd the later the last', () => {
      const asks = crowd.map((_, index) => askedAtMs(begin(index, crowd)));
      expect(Math.max(...asks)).toBeLessThanOrEqual(220);
      expect(Math.max(...asks)).toBeGreaterThan(100);
      const few = crowd.map((_, index) => askedAtMs(begin(index, crowd.slice(0, 4))));
      expect(Math.max(...few)).toBeLessThanOrEqual(60);
      expect(new Set(asks).size).toBeGreaterThan(10);
    });

    it('who is alone, or whose neighbours do not want the blob, asks at once', () => {
      expect(askedAtMs(begin(0, []))).toBe(10);
      expect(agent(40, { listenMs: 0 }).handle({ type: 'tick' }, 0)).toContainEqual(
        expect.objectContaining({ type: 'ask-lease' }),
      );
    });

    it('the tracker is asked for peers at once by who has few, and later by who has many', () => {
      const searchedAtMs = (swarm: BlobSwarm): number => {
        for (let nowMs = 10; nowMs < 6_000; nowMs += 10) {
          swarm.handle({ type: 'origin-bytes' }, nowMs);
          if (swarm.handle({ type: 'tick' }, nowMs).some(({ type }) => type === 'find-peers')) return nowMs;
        }
        return Number.POSITIVE_INFINITY;
      };
      expect(searchedAtMs(begin(0, crowd.slice(0, 5)))).toBe(10);
      const late = searchedAtMs(begin(0, crowd));
      expect(late).toBeGreaterThan(10);
      expect(late).toBeLessThanOrEqual(420);
    });
  });

  it('asks for the next lease before its run ends, and for none while peers have work for it', () => {
    const swarm = agent(40);
    swarm.handle(lease(0, 8), 0);
    const asks: number[] = [];
    for (let index = 0; index < 8; index++) {
      const actions = swarm.handle({ type: 'piece', index, from: 'origin' }, index + 1);
      if (actions.some(({ type }) => type === 'ask-lease')) asks.push(index);
    }
    expect(asks).toEqual([5]);
  });

  it('crosses a zone boundary only under a lease, or when a reader starves', () => {
    const swarm = agent();
    swarm.handle({ type: 'peer-map', peer: 'far', zone: 'y', pieces: PieceMap.full(10) }, 0);
    expect(swarm.handle({ type: 'tick' }, 0).some(({ type }) => type === 'fetch')).toBe(false);
    const fetches = swarm.handle(lease(3, 5, 'zone'), 1).filter((action) => action.type === 'fetch');
    expect(fetches.map(({ index }) => index).sort()).toEqual([3, 4]);
    swarm.handle({ type: 'reader', reader: 1, index: 7 }, 2);
    const starved = swarm.handle({ type: 'tick' }, 2_002).filter((action) => action.type === 'fetch');
    expect(starved.map(({ index }) => index)).toEqual([7]);
  });

  it('asks a second peer for what takes long when everything is under way', () => {
    const swarm = agent(2);
    for (const peer of ['p', 'q']) {
      swarm.handle({ type: 'peer-map', peer, zone: 'z', pieces: PieceMap.full(2) }, 0);
    }
    const again = swarm.handle({ type: 'tick' }, 1_000).filter(({ type }) => type === 'fetch');
    expect(again).toHaveLength(2);
    const cancelled = swarm.handle({ type: 'piece', index: 0, from: 'p' }, 1_001);
    expect(cancelled).toContainEqual({ type: 'cancel', peer: 'q', index: 0 });
  });

  it('goes back to work when pieces are lost after it was complete', () => {
    const swarm = agent(2);
    swarm.handle({ type: 'piece', index: 0, from: 'origin' }, 1);
    expect(swarm.handle({ type: 'piece', index: 1, from: 'origin' }, 2)).toContainEqual({ type: 'complete' });
    const pieces = PieceMap.full(2);
    swarm.handle({ type: 'pieces-lost', indexes: [1] }, 3);
    const actions = swarm.handle({ type: 'peer-map', peer: 'p', zone: 'z', pieces }, 4);
    expect(actions).toContainEqual({ type: 'fetch', peer: 'p', index: 1, patience: 500, deadlineMs: 2_000 });
    expect(swarm.handle({ type: 'piece', index: 1, from: 'p' }, 5)).toContainEqual({ type: 'complete' });
  });

  it('without a tracker and without peers reads the whole blob in one run', () => {
    const swarm = agent(10, { graceMs: 0 });
    swarm.handle({ type: 'tick' }, 0);
    const actions = swarm.handle({ type: 'lease-unavailable' }, 1);
    expect(actions).toContainEqual({ type: 'read-origin', from: 0, to: 10, whole: true });
  });

  it('gives up when nothing comes for 20 s', () => {
    const swarm = agent();
    swarm.handle({ type: 'tick' }, 0);
    swarm.handle({ type: 'lease-refused', retryAfterMs: 60_000 }, 1);
    expect(swarm.handle({ type: 'tick' }, 20_001)).toContainEqual({ type: 'give-up', why: 'no-progress' });
  });
});
