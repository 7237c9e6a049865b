/**
 * A cluster in virtual time: the real `BlobSwarm`s, `LeaseTable`, `DisputeTable`, `Audit` and tracker `Directory`, joined by a
 * modelled network, origin and runtime. No bytes are moved: a piece is a number that says who signed it and whether it is
 * wrong. One plan and its seed give one outcome, always. What is modelled how, and what is left out: README.md.
 *
 *   Timeline ─► World ─► BlobSwarm.handle ─► actions ─┬─► PieceTraffic   requests, slots, links between nodes
 *                 ▲                                   ├─► OriginReading  ─► Origin
 *                 └──────────── events ◄──────────────┼─► LeaseDesk      ─► Tracker: LeaseTable, DisputeTable, Directory
 *                                                     ├─► Neighbourhood  ─► Links: connections, haves
 *                                                     └─► Auditing       ─► Origin, Tracker
 */
import {
  BlobSwarm,
  DEFAULT_SWARM_OPTIONS,
  mostInFlight,
  PieceMap,
  pieceSizeOf,
  type SwarmAction,
  type SwarmEvent,
} from '@shoal/swarm';
import { Announcing } from './announcing.ts';
import { AUDIT_BUDGET_MS, Auditing } from './auditing.ts';
import { boundSeconds } from './bound.ts';
import {
  ARRIVAL,
  CANCEL,
  HAVES,
  HAVES_FAR,
  HAVES_NEAR,
  ORIGIN_LINK,
  ORIGIN_PIECE,
  REFUSAL,
  REQUEST,
  TICK,
  UPLINK,
  WINDOW,
} from './event-kind.ts';
import { chooseJoins, chooseRoles, scheduleFaults } from './faults.ts';
import { LeaseDesk } from './lease-desk.ts';
import { Links } from './links.ts';
import { Neighbourhood } from './neighbourhood.ts';
import { copyOf, type NodeRole, SimNode } from './node.ts';
import { Origin } from './origin.ts';
import { type Outcome, outcomeOf } from './outcome.ts';
import { PieceTraffic } from './piece-traffic.ts';
import { completePlan, type Plan, type PlanInput } from './plan.ts';
import { OriginReading } from './reading.ts';
import { bytesPerMs, Setting } from './setting.ts';
import { CALL } from './timeline.ts';
import { Trace } from './trace.ts';
import { Tracker } from './tracker.ts';

// As in the agent.
const TICK_MS = 100;
/** How long a neighbour may take to see that a node is dead. */
const NOTICE_DEATH_MS = 2_000;
const EVENTS_PER_REPORT = 1 << 16;
const STAYS: NodeRole = { liar: false, corrupt: false, fate: 'stays', seed: false };

export interface Progress {
  virtualMs: number;
  complete: number;
  expected: number;
}

export class World {
  readonly plan: Plan;
  readonly #setting: Setting;
  readonly #traffic: PieceTraffic;
  readonly #links: Links;
  readonly #neighbourhood: Neighbourhood;
  readonly #origin: Origin;
  readonly #tracker: Tracker;
  readonly #leases: LeaseDesk;
  readonly #reading: OriginReading;
  readonly #auditing: Auditing;
  readonly #announcing: Announcing;
  readonly #trace: Trace;
  readonly #maxInFlight: number;
  readonly #slotsPerPeer: number;
  /** Nodes whose end is waited for. */
  #expected = 0;
  #ended = 0;

  /** @throws RangeError, TypeError when the plan makes no sense */
  constructor(plan: PlanInput) {
    this.plan = completePlan(plan);
    const setting = new Setting(this.plan);
    this.#setting = setting;
    const tell = (node: SimNode, event: SwarmEvent): void => this.#tell(node, event);
    const ears = {
      tell,
      keep: (node: SimNode, index: number, copy: number, from: SimNode | undefined) =>
        this.#keep(node, index, copy, from),
      seek: (node: SimNode, others: readonly SimNode[]) => this.#neighbourhood.seek(node, others),
      testify: (node: SimNode, index: number) => this.#auditing.testify(node, index),
      originBytes: (node: SimNode) => this.#reading.bytes(node),
      heard: (node: SimNode, avoided: ReadonlySet<number>) => this.#auditing.heard(node, avoided),
      unanswered: (node: SimNode) => this.#announcing.unanswered(node),
      failed: (node: SimNode, why: string) => this.#fail(node, why),
    };
    this.#traffic = new PieceTraffic(setting, ears);
    this.#links = new Links(setting, ears, this.#traffic);
    this.#neighbourhood = new Neighbourhood(setting, this.#links);
    this.#origin = new Origin(setting);
    this.#tracker = new Tracker(setting, ears);
    this.#leases = new LeaseDesk(setting, ears, this.#tracker);
    this.#reading = new OriginReading(setting, ears, this.#origin, this.#leases);
    this.#auditing = new Auditing(setting, ears, this.#origin, this.#tracker, this.#links);
    this.#announcing = new Announcing(setting, this.#tracker, this.#links, (node, others) => {
      if (node.active) this.#neighbourhood.meet(node, others);
    });
    this.#trace = new Trace(setting, this.#origin);
    this.#maxInFlight = this.plan.swarm.maxInFlight ?? mostInFlight(pieceSizeOf(this.plan.blobBytes));
    this.#slotsPerPeer = this.plan.swarm.slotsPerPeer ?? DEFAULT_SWARM_OPTIONS.slotsPerPeer;
    this.#populate();
  }

  /** Plays until every node that should get the blob has it or has failed, or the plan's time is over. */
  run(onProgress?: (progress: Progress) => void): Outcome {
    const { timeline } = this.#setting;
    while (this.#ended < this.#expected && timeline.next()) {
      if (timeline.nowMs > this.plan.limitMs) break;
      this.#happen();
      if (onProgress !== undefined && timeline.count % EVENTS_PER_REPORT === 0) onProgress(this.#progress());
    }
    const barred = [...this.#tracker.barred].flatMap((peerId) => this.#setting.byId.get(peerId) ?? []);
    return outcomeOf(this.#setting, barred, this.#trace.points);
  }

  #progress(): Progress {
    return { virtualMs: this.#setting.nowMs, complete: this.#ended, expected: this.#expected };
  }

  #happen(): void {
    const { timeline, nodes } = this.#setting;
    const { a, b } = timeline;
    switch (timeline.kind) {
      case CALL:
        timeline.call();
        return;
      case TICK:
        this.#tick(nodes[a] as SimNode, b);
        return;
      case WINDOW: {
        const node = nodes[a] as SimNode;
        if (node.life !== b) return;
        if (node.frozenUntilMs > timeline.nowMs) {
          timeline.at(node.frozenUntilMs, WINDOW, a, b);
          return;
        }
        this.#links.endWindow(node);
        return;
      }
      case HAVES:
      case HAVES_NEAR:
      case HAVES_FAR:
        this.#links.onHaves(a, timeline.kind);
        return;
      case REQUEST:
        this.#traffic.onRequest(a, b);
        return;
      case UPLINK:
        this.#traffic.onUplink(nodes[a] as SimNode);
        return;
      case ARRIVAL:
        this.#traffic.onArrival(a, b);
        return;
      case REFUSAL:
        this.#traffic.onRefusal(a, b);
        return;
      case CANCEL:
        this.#traffic.onCancel(a, b);
        return;
      case ORIGIN_LINK:
        this.#origin.onLink();
        return;
      case ORIGIN_PIECE:
        this.#origin.onPiece(a, b);
        return;
    }
  }

  // The nodes' lives.

  #populate(): void {
    const { plan } = this;
    const { timeline, pieceCount, nodes } = this.#setting;
    const random = this.#setting.randomFor(7);
    const withinMs = plan.faultsWithinMs ?? 1_000 * boundSeconds({ ...plan, pieces: pieceCount });
    const starts = chooseRoles(plan, random).map((role) => ({ role, startMs: random() * plan.startSpreadMs }));
    const joins = chooseJoins(plan, withinMs, random).map((startMs) => ({ role: STAYS, startMs }));
    const seeds = Array.from({ length: plan.seeds }, () => ({ role: { ...STAYS, seed: true }, startMs: 0 }));
    const slow = Math.round(plan.slow.share * plan.nodes);
    for (const [index, { role, startMs }] of [...starts, ...seeds, ...joins].entries()) {
      const factor = index < slow ? plan.slow.factor : 1;
      const node = new SimNode(
        {
          index,
          zone: index % plan.zones,
          pieceCount,
          bytesPerMs: bytesPerMs(plan.link) * factor,
          role,
          startMs,
          random: this.#setting.randomFor(1_000 + index),
        },
        this.#traffic.newQueue(),
      );
      nodes.push(node);
      this.#setting.byId.set(node.id, node);
      if (node.honest && role.fate !== 'dies' && !role.seed) this.#expected++;
      // Who joins later is not there before; the others are, whenever their runtime asks for the blob.
      const joined = index >= starts.length + seeds.length ? startMs : 0;
      timeline.later(joined, () => this.#start(node));
    }
    for (const node of nodes) node.known = this.#acquaintances(node, random);
    timeline.later(0, () => this.#connectAcquaintances());
    const lives = {
      die: (node: SimNode) => this.#die(node),
      start: (node: SimNode) => this.#start(node),
      freeze: (node: SimNode, forMs: number) => this.#freeze(node, forMs),
    };
    scheduleFaults(this.#setting, this.#links, lives, withinMs);
  }

  /** As the tracker introduces them: three quarters of the node's own zone. */
  #acquaintances(node: SimNode, random: () => number): SimNode[] {
    const { nodes } = this.#setting;
    const { knownMembers, zones } = this.plan;
    return Array.from({ length: knownMembers }, (_, place) => {
      const drawn = Math.floor(random() * nodes.length);
      if (place % 4 === 3) return nodes[drawn] as SimNode;
      const ofOwnZone = drawn - (drawn % zones) + node.zone;
      return nodes[ofOwnZone < nodes.length ? ofOwnZone : node.zone] as SimNode;
    });
  }

  #connectAcquaintances(): void {
    const { acquaintances } = this.plan;
    for (const node of this.#setting.nodes) {
      for (const other of node.known.slice(0, this.#tracker.isUp ? acquaintances : undefined))
        this.#links.connect(node, other);
    }
  }

  /** The node's process starts, for the first time or again. */
  #start(node: SimNode): void {
    node.alive = true;
    if (node.role.seed) {
      node.copies.fill(copyOf(node.index, false));
      node.held = node.copies.length;
      node.state = 'complete';
    }
    this.#announcing.start(node);
    if (node.state === 'complete') this.#announcing.have(node);
    else this.#setting.laterFor(node, Math.max(0, node.startMs - this.#setting.nowMs), () => this.#pull(node));
  }

  #pull(node: SimNode): void {
    const { blob, pieceCount, timeline, nowMs } = this.#setting;
    const have = PieceMap.empty(pieceCount);
    for (let index = 0; index < pieceCount; index++) if (node.copies[index] !== 0) have.add(index);
    // Who wants to sign much does not wait its turn.
    const { liar } = node.role;
    const connected = liar ? 0 : node.neighbours.length;
    node.state = 'pulling';
    node.auditLeftMs = AUDIT_BUDGET_MS;
    node.swarm = new BlobSwarm(
      {
        ...DEFAULT_SWARM_OPTIONS,
        ...(connected === 0 && { graceMs: 0, listenMs: 0 }),
        connected,
        clusterSize: liar ? 1 : this.#setting.nodes.length,
        ...this.plan.swarm,
        pieceCount,
        zone: node.zoneName,
        self: node.id,
        blob,
        maxInFlight: this.#maxInFlight,
      },
      have,
      node.random,
      nowMs,
    );
    this.#links.wants(node);
    this.#tell(node, { type: 'tick' });
    this.#setting.laterFor(node, DEFAULT_SWARM_OPTIONS.listenMs + 1, () => this.#tell(node, { type: 'tick' }));
    timeline.at(nowMs + node.random() * TICK_MS, TICK, node.index, node.life);
    node.readAt = node.firstMissing();
    this.#tell(node, { type: 'reader', reader: 1, index: node.readAt });
  }

  #tick(node: SimNode, life: number): void {
    const { timeline, nowMs } = this.#setting;
    if (node.life !== life || !node.active) return;
    if (node.frozenUntilMs > nowMs) {
      timeline.at(node.frozenUntilMs, TICK, node.index, life);
      return;
    }
    timeline.at(nowMs + TICK_MS, TICK, node.index, life);
    this.#traffic.lookAfter(node);
    this.#reading.lookAfter(node);
    this.#tell(node, { type: 'tick' });
  }

  #die(node: SimNode): void {
    if (!node.alive) return;
    node.alive = false;
    node.life++;
    node.frozenUntilMs = 0;
    if (node.state !== 'complete') node.state = 'idle';
    node.swarm = undefined;
    node.reading = undefined;
    node.leases.clear();
    node.audits++;
    node.duties.clear();
    this.#traffic.died(node);
    this.#links.died(node, NOTICE_DEATH_MS);
  }

  #freeze(node: SimNode, forMs: number): void {
    const { timeline, nowMs } = this.#setting;
    if (!node.alive || node.frozenUntilMs > nowMs) return;
    node.frozenAtMs = nowMs;
    node.frozenUntilMs = nowMs + forMs;
    this.#traffic.freeze(node);
    timeline.later(forMs, () => this.#traffic.thaw(node));
  }

  #complete(node: SimNode): void {
    if (node.held !== this.#setting.pieceCount) {
      this.#setting.violation(`${node.id} takes its blob for complete with ${node.held} pieces`);
    }
    if (!node.role.liar && node.wrongPieces().length > 0) {
      this.#auditing.begin(node);
      return;
    }
    this.#end(node, 'complete');
    this.#announcing.have(node);
  }

  #fail(node: SimNode, why: string): void {
    node.failure = why;
    this.#end(node, 'failed');
    this.#links.withdraw(node);
  }

  #end(node: SimNode, state: 'complete' | 'failed'): void {
    node.state = state;
    node.endedMs = this.#setting.nowMs;
    this.#reading.stop(node);
    this.#leases.releaseAll(node);
    this.#traffic.giveUp(node);
    node.swarm = undefined;
    if (node.honest && node.role.fate !== 'dies' && !node.role.seed) this.#ended++;
  }

  // Between the swarm and the rest.

  #tell(node: SimNode, event: SwarmEvent): void {
    const { swarm } = node;
    if (swarm === undefined) return;
    const actions = swarm.handle(event, this.#setting.nowMs);
    for (let at = 0; at < actions.length; at++) this.#do(node, actions[at] as SwarmAction);
  }

  #do(node: SimNode, action: SwarmAction): void {
    switch (action.type) {
      case 'fetch':
        this.#fetch(node, action);
        return;
      case 'cancel':
        this.#traffic.cancel(node, this.#nodeOf(action.peer), action.index);
        return;
      case 'ask-lease':
        this.#leases.ask(node, action);
        return;
      case 'read-origin':
        this.#reading.read(node, action);
        return;
      case 'limit-origin':
        this.#reading.limit(node, action.to);
        return;
      case 'stop-origin':
        this.#reading.stop(node);
        return;
      case 'release-lease':
        this.#leases.release(node, action.leaseId, action.how, action.next);
        return;
      case 'find-peers':
        this.#setting.tally.findPeers++;
        this.#announcing.want(node);
        return;
      case 'complete':
        this.#complete(node);
        return;
      case 'give-up':
        this.#fail(node, action.why);
        return;
    }
  }

  #fetch(node: SimNode, wanted: Extract<SwarmAction, { type: 'fetch' }>): void {
    const { peer, index } = wanted;
    const from = this.#nodeOf(peer);
    const { inFlight } = node;
    // A reader that starves may be given one more.
    if (node.copies[index] !== 0) this.#setting.violation(`${node.id} asks for piece ${index}, which it has`);
    if (inFlight.length > this.#maxInFlight) this.#setting.violation(`${node.id} asks for too many pieces at once`);
    let ofPeer = 0;
    for (let at = 0; at < inFlight.length; at++) {
      const transfer = inFlight[at];
      if (transfer?.from !== from) continue;
      ofPeer++;
      if (transfer.index === index) this.#setting.violation(`${node.id} asks ${peer} for piece ${index} twice`);
    }
    if (ofPeer >= this.#slotsPerPeer) this.#setting.violation(`${node.id} asks ${peer} for too many pieces at once`);
    this.#traffic.fetch(node, from, wanted);
  }

  #nodeOf(peer: string): SimNode {
    const node = this.#setting.byId.get(peer);
    if (node === undefined) throw new Error(`the swarm made up a peer: ${peer}`);
    return node;
  }

  #keep(node: SimNode, index: number, copy: number, from: SimNode | undefined): void {
    if (node.state !== 'pulling') return;
    if (node.copies[index] === 0) {
      node.copies[index] = copy;
      node.held++;
      this.#links.publish(node, index);
    } else if (from !== undefined) {
      this.#setting.tally.wastedBytes += this.#setting.bytesOf(index);
    }
    this.#tell(node, { type: 'piece', index, from: from === undefined ? 'origin' : from.id });
    if (index !== node.readAt || !node.active) return;
    node.readAt = node.firstMissing(index);
    if (node.readAt < this.#setting.pieceCount) this.#tell(node, { type: 'reader', reader: 1, index: node.readAt });
  }
}
