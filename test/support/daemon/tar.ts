// The tar archives of the images under test: plain ustar entries with fixed owners and times, so that the same content
// has the same digest on every machine.

const blockBytes = 512;
const modifiedAtSeconds = 1_700_000_000;

export type TarEntry =
  | { readonly kind: 'file'; readonly name: string; readonly content: Uint8Array; readonly mode?: number }
  | { readonly kind: 'folder'; readonly name: string; readonly mode?: number }
  | { readonly kind: 'symlink'; readonly name: string; readonly target: string }
  | { readonly kind: 'hardlink'; readonly name: string; readonly target: string };

const typeFlags = { file: '0', hardlink: '1', symlink: '2', folder: '5' } as const;
const defaultModes = { file: 0o644, hardlink: 0o644, symlink: 0o777, folder: 0o755 } as const;

/** Packs the entries in their order. Names have no leading slash and at most 100 bytes. */
export function packTar(entries: readonly TarEntry[]): Buffer {
  const blocks: Uint8Array[] = [];
  for (const entry of entries) {
    const content = entry.kind === 'file' ? entry.content : new Uint8Array();
    blocks.push(tarHeader(entry, content.length), content, Buffer.alloc(tarPaddingBytes(content.length)));
  }
  blocks.push(Buffer.alloc(2 * blockBytes));
  return Buffer.concat(blocks);
}

/** Zeros after the content of an entry. */
export function tarPaddingBytes(sizeBytes: number): number {
  return (blockBytes - (sizeBytes % blockBytes)) % blockBytes;
}

/** What comes before the content of an entry. */
export function tarHeader(entry: Pick<TarEntry, 'kind' | 'name'>, sizeBytes: number): Buffer {
  const name = entry.kind === 'folder' ? `${entry.name}/` : entry.name;
  if (Buffer.byteLength(name) > 100) throw new Error(`too long for ustar: ${name}`);
  const mode = ('mode' in entry ? (entry.mode as number | undefined) : undefined) ?? defaultModes[entry.kind];
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, offset: number, width: number): void => {
    block.write(value.toString(8).padStart(width - 1, '0'), offset, 'latin1');
  };
  block.write(name, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(sizeBytes, 124, 12);
  octal(modifiedAtSeconds, 136, 12);
  block.fill(' ', 148, 156);
  block.write(typeFlags[entry.kind], 156);
  if ('target' in entry) block.write(String(entry.target), 157);
  block.write('ustar\u000000', 257, 'latin1');
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
