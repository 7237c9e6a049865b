import { CONTAINERD_COMPILES_WITHIN_MS, containerd2Programs } from '../support/daemon/containerd-2.ts';

/** A containerd that suites are run with. */
export interface TriedContainerd {
  readonly version: 1 | 2;
  /** As `Containerd.start` takes them. */
  programs(): Promise<{ readonly programs?: string }>;
}

/** Debian's, and the one that Kubernetes wants from 1.36 on. */
export const containerds: readonly TriedContainerd[] = [
  { version: 1, programs: async () => ({}) },
  { version: 2, programs: async () => ({ programs: await containerd2Programs() }) },
];

/** For who may have to wait until the latter is compiled. */
export const CONTAINERD_STARTS_WITHIN_MS: number = CONTAINERD_COMPILES_WITHIN_MS + 180_000;
