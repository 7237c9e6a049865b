// A cable between two machines, and root of one lets root of the other in by SSH: the real sshd, and keys made for this alone.
import { run } from './daemon/process.ts';
import type { FreshMachine } from './fresh-machine.ts';

const DEVICE = 'cable';
/** Nobody else is in these networks. */
const FROM_ADDRESS = '10.73.0.1';
const TO_ADDRESS = '10.73.0.2';
const HOST_KEY = '/etc/ssh/ssh_host_ed25519_key';
const USER_KEY = '/root/.ssh/id_ed25519';
const SSHD_CONFIG = `HostKey ${HOST_KEY}
PermitRootLogin prohibit-password
PasswordAuthentication no
Subsystem sftp internal-sftp
`;

export interface SshLink {
  /** How the machine that is reached reaches the other one. */
  readonly fromAddress: string;
}

/** @param to has systemd @param names by which `from` reaches it, as they are typed */
export async function linkBySsh(from: FreshMachine, to: FreshMachine, names: readonly string[]): Promise<SshLink> {
  await layCable(from, to);
  await from.run(`echo '${TO_ADDRESS} ${names.join(' ')}' >> /etc/hosts`);

  await from.run(`mkdir -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f ${USER_KEY}`);
  const userKey = await from.run(`cat ${USER_KEY}.pub`);
  await to.write('/root/.ssh/authorized_keys', userKey, 0o600);

  await to.write('/etc/ssh/sshd_config', SSHD_CONFIG);
  await to.run(`ssh-keygen -q -t ed25519 -N '' -f ${HOST_KEY}`);
  const hostKey = await to.run(`cat ${HOST_KEY}.pub`);
  // ssh compares names in lower case.
  await from.write('/root/.ssh/known_hosts', `${names.join().toLowerCase()} ${hostKey}`);

  // What Debian's package would have made when it was installed, and a root without a password who is not locked out.
  await to.run('echo sshd:x:105:65534::/run/sshd:/usr/sbin/nologin >> /etc/passwd');
  await to.run("echo 'root:*:20000::::::' >> /etc/shadow");
  await to.run('systemctl enable --now ssh');
  return { fromAddress: FROM_ADDRESS };
}

async function layCable(from: FreshMachine, to: FreshMachine): Promise<void> {
  const end = (machine: FreshMachine): string[] => ['name', DEVICE, 'netns', `${machine.pid}`];
  await run('ip', ['link', 'add', ...end(from), 'type', 'veth', 'peer', ...end(to)]);
  await from.run(`ip addr add ${FROM_ADDRESS}/24 dev ${DEVICE} && ip link set ${DEVICE} up`);
  await to.run(`ip addr add ${TO_ADDRESS}/24 dev ${DEVICE} && ip link set ${DEVICE} up`);
}
