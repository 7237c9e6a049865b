/** What one run of the crowd came to: the contract of `bench crowd --json`. Times in seconds, rates in Mbit/s. */
import type { TraceSample } from './trace.ts';

export interface CrowdReading {
  nodes: number;
  zones: number;
  /** F: manifest, config and layers. */
  imageBytes: number;
  layers: number;
  /** M, over all of the image's blobs. */
  pieces: number;
  /** What the shapers were told, for all bytes on the wire. */
  linkMbit: number;
  originLinkMbit: number;
  /** u: what one plain TCP stream from the origin to a node carried through both shapers, just before the run. */
  payloadMbit: number;
  /** What two nodes carried that sent to each other at once. */
  duplexPayloadMbit: readonly number[] | undefined;
  congestionControl: string;
  /** Bodies that the origin sent. */
  originBytes: number;
  originBytesRatio: number;
  /** All that left the origin's interface, headers and acknowledgements included, over F. */
  originWireRatio: number;
  originRequests: number;
  /** Over manifest, config and layers. */
  originRequestsPerObject: number;
  originObjects: readonly { name: string; requests: number; bytes: number }[];
  /** Granted by the tracker; undefined when it does not tell. */
  leases: number | undefined;
  boundSeconds: number;
  /** The last node's time; of those that got the image. */
  makespanSeconds: number;
  makespanRatio: number;
  medianSeconds: number;
  medianRatio: number;
  failedPulls: number;
  perNode: readonly NodeReading[];
  /** Bytes on the wire over what the link could have carried until the last node was done, 0 to 1. */
  linkUse: { originUp: number; nodeDownMean: number; nodeUpMean: number };
  /** By the shapers, on all links, both ways. */
  droppedPackets: number;
  /** Agent and client together, mean over the nodes. */
  cpuSecondsPerNode: number;
  agentCpuSecondsPerNode: number;
  trackerCpuSeconds: number;
  /** All processes of the run over all processors, 0 to 1: well below 1, or the CPU was the limit. */
  cpuUtilisation: number;
  /** Of everything on the machine: far above `cpuUtilisation`, and somebody else was at work. */
  machineUtilisation: number;
  /** The highest of any agent. */
  peakRssBytes: number;
  traced: readonly TraceSample[] | undefined;
}

export interface NodeReading {
  node: string;
  zone: string;
  /** Undefined when the pull failed. */
  seconds: number | undefined;
  failure: string | undefined;
  bytesFromPeers: number;
  bytesFromOrigin: number;
  bytesToPeers: number;
  agentCpuSeconds: number;
}
