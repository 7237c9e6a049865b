import { generate } from 'selfsigned';
import type { DaemonFolder } from './daemon-folder.ts';

/** Files of a certificate for 127.0.0.1 that nobody but itself vouches for. */
export interface LoopbackCertificate {
  readonly certificate: string;
  readonly key: string;
}

export async function writeLoopbackCertificate(folder: DaemonFolder, name: string): Promise<LoopbackCertificate> {
  const made = await generate([{ name: 'commonName', value: '127.0.0.1' }], {
    keyType: 'ec',
    curve: 'P-256',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  });
  return {
    certificate: await folder.write(`${name}.crt`, made.cert),
    key: await folder.write(`${name}.key`, made.private),
  };
}
