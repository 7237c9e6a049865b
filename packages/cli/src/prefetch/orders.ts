/** Orders to prefetch, as the agent of this machine knows them: asked for, listed, cancelled. */
import { type PrefetchOrder, type PrefetchSummary, prefetchListSchema, prefetchOrderSchema } from '@shoal/wire';
import { askAdmin } from '../admin-client.ts';
import type { CliIo } from '../cli-io.ts';
import { oneLine } from '../command-failure.ts';

const PROGRAM = 'shoal prefetch';
const PATH = '/v1/prefetch';
const ABILITY = 'prefetch';

export interface OrderWish {
  readonly images: readonly string[];
  readonly platform?: string | undefined;
  readonly bytesPerSecond?: number | undefined;
  readonly names?: readonly string[] | undefined;
  readonly zone?: string | undefined;
  readonly everywhere?: boolean | undefined;
}

/** @throws CommandFailure, also those below */
export async function placeOrder(admin: string, body: OrderWish, signal: AbortSignal): Promise<PrefetchOrder> {
  return clean(await askAdmin({ ...about(admin, PATH), body, answer: prefetchOrderSchema, signal }));
}

export async function findOrder(admin: string, id: string, signal: AbortSignal): Promise<PrefetchOrder> {
  return clean(await askAdmin({ ...about(admin, pathOf(id)), answer: prefetchOrderSchema, signal }));
}

export async function endOrder(admin: string, id: string): Promise<PrefetchOrder> {
  return clean(await askAdmin({ ...about(admin, pathOf(id)), method: 'DELETE', answer: prefetchOrderSchema }));
}

export async function listOrders({ admin, json }: { admin: string; json: boolean }, io: CliIo): Promise<void> {
  const { orders } = await askAdmin({ ...about(admin, PATH), answer: prefetchListSchema });
  io.stdout.write(json ? `${JSON.stringify(orders)}\n` : ordersText(orders, Date.now()));
}

export async function cancelOrder(
  id: string,
  { admin, json }: { admin: string; json: boolean },
  io: CliIo,
): Promise<void> {
  const order = await endOrder(admin, id);
  const done = order.nodes.filter(({ state }) => state === 'done').length;
  const what =
    order.state === 'cancelled' ? 'Cancelled' : `It had ${order.state === 'expired' ? 'expired' : 'ended'} before`;
  const text = `${what}; ${done} of ${order.nodes.length} nodes had everything.\n`;
  io.stdout.write(json ? `${JSON.stringify(order)}\n` : text);
}

export function ordersText(orders: readonly PrefetchSummary[], nowMs: number): string {
  if (orders.length === 0) return 'no orders\n';
  const rows = orders.map(({ id, state, waiting, fetching, done, failed, images, orderedBy, orderedAtMs }) => [
    id,
    state,
    `${done}/${waiting + fetching + done + failed}${failed === 0 ? '' : `, ${failed} failed`}`,
    `${Math.max(0, Math.round((nowMs - orderedAtMs) / 60_000))} min ago`,
    orderedBy,
    images.join(' '),
  ]);
  const table = [['order', 'state', 'done', 'ordered', 'by', 'images'], ...rows].map((row) => row.map(oneLine));
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  return table
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function about(admin: string, path: string) {
  return { program: PROGRAM, admin, path, ability: ABILITY };
}

function pathOf(id: string): string {
  return `${PATH}/${encodeURIComponent(id)}`;
}

/** By name; and what other members say of themselves does not steer the terminal. */
function clean(order: PrefetchOrder): PrefetchOrder {
  const nodes = order.nodes.map((node) => ({
    ...node,
    name: oneLine(node.name),
    ...(node.reason === undefined ? {} : { reason: oneLine(node.reason) }),
  }));
  nodes.sort((one, other) => one.name.localeCompare(other.name, 'en', { numeric: true }));
  return { ...order, nodes };
}
