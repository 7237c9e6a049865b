/** `sick-registry ADDRESS PORT`: what stands in the registry's place while that is overloaded, and refuses whatever it is asked. */
import { createServer } from 'node:http';
import { endWithRig, tell, tellFailure } from '../../bench/rig/messages.ts';

export interface SickRegistryReady {
  readonly type: 'ready';
}

const OVERLOADED = 500;
const TOO_MANY_REQUESTS = 429;
const RETRY_AFTER_SECONDS = '1';

endWithRig();
const [address, port] = process.argv.slice(2) as [string, string];
let asked = 0;
const server = createServer((_request, response) => {
  if (asked++ % 2 === 0) response.writeHead(OVERLOADED).end();
  else response.writeHead(TOO_MANY_REQUESTS, { 'retry-after': RETRY_AFTER_SECONDS }).end();
});
server.on('error', tellFailure);
server.listen(Number(port), address, () => tell<SickRegistryReady>({ type: 'ready' }));
