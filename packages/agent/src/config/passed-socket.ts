/**
 * The mirror's listening socket when it is handed over rather than made: systemd's socket activation (sd_listen_fds(3)). systemd holds
 * the socket while no agent runs, so a client that connects meanwhile waits for the next one instead of being refused, which would
 * send it to the registry.
 *
 *   LISTEN_PID      for whom the sockets are; those of another process are left alone
 *   LISTEN_FDS      how many there are, as descriptors 3, 4, …
 *   LISTEN_FDNAMES  their names, between colons; not always there
 */
import { lookup } from 'node:dns/promises';
import { isIP, SocketAddress } from 'node:net';
import { hostAndPort } from '@shoal/process/addresses';
import type { HostPort } from './agent-config.ts';
import { StartError } from './start-error.ts';

const FIRST_FD = 3;
/** `FileDescriptorName=` of the socket unit. */
const MIRROR_NAME = 'mirror';
const UNIT = 'shoal-agent.socket';

/**
 * The descriptor of the mirror's socket; undefined when this process was handed none.
 * @throws StartError when what was handed over is not one socket, or is for something else
 */
export function passedMirrorSocket(env: Readonly<Record<string, string | undefined>>, pid: number): number | undefined {
  const { LISTEN_PID: forPid, LISTEN_FDS: count, LISTEN_FDNAMES: names } = env;
  if (count === undefined || forPid !== String(pid) || count === '0') return undefined;
  if (count !== '1') throw wrong(`${shortened(count)} sockets are handed over`, `Have one ListenStream= in ${UNIT}`);
  if (names !== undefined && names !== MIRROR_NAME) {
    throw wrong(
      `the socket that is handed over is named "${shortened(names)}"`,
      `Write FileDescriptorName=${MIRROR_NAME} in ${UNIT}`,
    );
  }
  return FIRST_FD;
}

/**
 * Whether the socket that was handed over is where the settings have the mirror: what `shoal setup` and `shoal doctor` tell runtimes
 * comes from the settings, and who may reach the mirror hangs on them.
 * @param bound `HOST:PORT` as the system tells it
 * @throws StartError
 */
export async function checkPassedSocket(bound: string, mirror: HostPort): Promise<void> {
  const at = SocketAddress.parse(bound);
  const hosts = isIP(mirror.host) === 0 ? await addressesOf(mirror.host) : [canonical(mirror.host)];
  const isSamePort = mirror.port === 0 || at?.port === mirror.port;
  if (at !== undefined && isSamePort && hosts.includes(at.address)) return;
  throw wrong(
    `the socket that is handed over is at ${bound}, and the mirror set to ${hostAndPort(mirror.host, mirror.port)}`,
    `Make ListenStream= in ${UNIT} and mirror in agent.yaml (--mirror) the same`,
  );
}

async function addressesOf(name: string): Promise<string[]> {
  const found = await lookup(name, { all: true }).catch(() => []);
  return found.map(({ address }) => canonical(address));
}

/** As the system writes it: `::1` for `0:0:0:0:0:0:0:1`. */
function canonical(address: string): string {
  return new SocketAddress({ address, family: isIP(address) === 6 ? 'ipv6' : 'ipv4' }).address;
}

function wrong(message: string, hint: string): StartError {
  return new StartError('wrong-usage', message, hint);
}

function shortened(text: string): string {
  return text.slice(0, 64);
}
