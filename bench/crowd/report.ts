// What a run came to, for people.
import type { CrowdReading } from './reading.ts';
import type { TraceSample } from './trace.ts';

const MiB = 1024 * 1024;
const BITS = 8;
const BAR_CELLS = 24;
/** Above this the processors, not the links, may have set the pace. */
const BUSY = 0.75;

export function crowdReport(reading: CrowdReading): string[] {
  const { boundSeconds: bound, makespanSeconds, medianSeconds, linkUse } = reading;
  const mib = (bytes: number): string => `${(bytes / MiB).toFixed(1)} MiB`;
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const duplex = reading.duplexPayloadMbit?.map((rate) => rate.toFixed(2)).join(' and ');
  const perObject = reading.originObjects.map(({ name, requests }) => `${name} ${requests}`).join(', ');
  const busy = reading.cpuUtilisation > BUSY ? ': too busy, take a slower --link or fewer nodes' : '';
  const disturbed =
    reading.machineUtilisation - reading.cpuUtilisation > 1 - BUSY ? ': something else kept this machine busy' : '';
  return [
    `${reading.nodes} nodes in ${reading.zones} zone${reading.zones > 1 ? 's' : ''}, ${mib(reading.imageBytes)} in ${reading.layers} layers, ${reading.pieces} pieces`,
    `links            ${reading.linkMbit} Mbit/s, origin ${reading.originLinkMbit} Mbit/s, on the wire (${reading.congestionControl})`,
    `  payload        ${reading.payloadMbit.toFixed(2)} Mbit/s by one plain TCP stream${duplex === undefined ? '' : `; both ways at once ${duplex}`}`,
    '',
    ...nodeTable(reading),
    '',
    `origin bytes     ${reading.originBytesRatio.toFixed(3)} × the image (${mib(reading.originBytes)}), ${reading.originWireRatio.toFixed(3)} × on the wire`,
    `origin requests  ${reading.originRequestsPerObject.toFixed(1)} per object (${perObject})`,
    `leases           ${reading.leases ?? 'not told by this tracker'}`,
    `bound            ${bound.toFixed(1)} s = image ÷ payload × (1 + ⌊log₂ nodes⌋ ÷ pieces)`,
    `last node        ${makespanSeconds.toFixed(1)} s, ${reading.makespanRatio.toFixed(2)} × the bound`,
    `median node      ${medianSeconds.toFixed(1)} s, ${reading.medianRatio.toFixed(2)} × the bound`,
    `failed pulls     ${reading.failedPulls}`,
    `links in use     origin up ${percent(linkUse.originUp)}, nodes down ${percent(linkUse.nodeDownMean)}, up ${percent(linkUse.nodeUpMean)}; ${reading.droppedPackets} packets dropped`,
    `CPU              ${percent(reading.cpuUtilisation)} of this machine${busy}; with everything else on it ${percent(reading.machineUtilisation)}${disturbed}`,
    `                 ${reading.cpuSecondsPerNode.toFixed(1)} s per node (agent ${reading.agentCpuSecondsPerNode.toFixed(1)} s), tracker ${reading.trackerCpuSeconds.toFixed(1)} s`,
    `memory           ${mib(reading.peakRssBytes)} at most in one agent`,
    ...(reading.traced === undefined ? [] : ['', ...traceTable(reading, reading.traced)]),
  ];
}

function nodeTable({ perNode }: CrowdReading): string[] {
  const cell = (bytes: number): string => (bytes / MiB).toFixed(1).padStart(12);
  const header = ['node     ', '  seconds', '  from peers', ' from origin', '    to peers', '  (MiB)'].join('');
  return [
    header,
    ...perNode.map(({ node, seconds, failure, ...bytes }) => {
      const time = (seconds?.toFixed(1) ?? 'failed').padStart(9);
      const why = failure === undefined ? '' : `  ${failure}`;
      return `${node.padEnd(9)}${time}${cell(bytes.bytesFromPeers)}${cell(bytes.bytesFromOrigin)}${cell(bytes.bytesToPeers)}${why}`;
    }),
  ];
}

/** Bytes are as the interfaces count them: with few of the headers, so a full link shows some per cent less. */
function traceTable({ linkMbit, originLinkMbit }: CrowdReading, samples: readonly TraceSample[]): string[] {
  const bar = (bytesPerSecond: number, linkMegabits: number): string => {
    const share = Math.min(1, (bytesPerSecond * BITS) / (linkMegabits * 1e6));
    const cells = Math.round(share * BAR_CELLS);
    return `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)} ${(100 * share).toFixed(0).padStart(3)} %  `;
  };
  const title = (text: string): string => text.padEnd(BAR_CELLS + 8);
  return [
    `second  ${title('origin up')}${title('nodes down, mean')}${title('nodes up, mean')}`,
    ...samples.map(
      ({ seconds, originTx, nodeRxMean, nodeTxMean }) =>
        `${seconds.toFixed(0).padStart(6)}  ${bar(originTx, originLinkMbit)}${bar(nodeRxMean, linkMbit)}${bar(nodeTxMean, linkMbit)}`,
    ),
  ];
}
