/** The demo's origin as a process of its own: `origin-process LAYOUT REPOSITORY [PORT CONTROL_PORT]`. */
import { startOrigin } from './origin.ts';

const [layoutFolder, repository, port, controlPort] = process.argv.slice(2);
if (layoutFolder === undefined || repository === undefined) throw new TypeError('LAYOUT and REPOSITORY are needed');

const ports = { port: Number(port ?? 0), controlPort: Number(controlPort ?? 0) };
const origin = await startOrigin({ layoutFolder, repository, ...ports });
process.stdout.write(`${JSON.stringify({ event: 'ready', url: origin.url, controlUrl: origin.controlUrl })}\n`);

const stop = (): void => {
  origin.close().then(
    () => process.exit(0),
    () => process.exit(1),
  );
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
