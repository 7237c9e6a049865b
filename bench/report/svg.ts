/**
 * The few shapes that the reports' charts are made of, as SVG text. Colours are CSS variables with a light and a dark value, so
 * one picture is right in both, in a page or by itself.
 */

export const WIDTH = 860;
const CHARACTER_WIDTH = 7.2;

export const CHART_STYLE = `
  svg { --ink: #1d2733; --soft: #5b6b7c; --line: #d5dde5; --bound: #8a94a0;
    --c0: #c2410c; --c1: #a16207; --c2: #0f766e; --c3: #2563eb; --c4: #7c3aed; --c5: #be185d; --c6: #4d7c0f; --c7: #475569;
    font: 13px system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --soft: #9fb0c0; --line: #33414f; --bound: #7d8b99;
    --c0: #fb923c; --c1: #facc15; --c2: #2dd4bf; --c3: #60a5fa; --c4: #c4b5fd; --c5: #f9a8d4; --c6: #a3e635; --c7: #cbd5e1; } }
  text { fill: var(--ink); } .soft { fill: var(--soft); } .title { font-weight: 600; font-size: 15px; }
  .grid { stroke: var(--line); } .bound { stroke: var(--bound); stroke-dasharray: 5 4; stroke-width: 1.5; }`;

export function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

export function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escapeText(content)}</text>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, className: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${className}"/>`;
}

export function rect(x: number, y: number, width: number, height: number, fill: string, about: string): string {
  const size = `width="${round(Math.max(0, width))}" height="${round(height)}"`;
  return `<rect x="${round(x)}" y="${round(y)}" ${size} rx="2" fill="${fill}"><title>${escapeText(about)}</title></rect>`;
}

export function path(points: readonly (readonly [x: number, y: number])[], stroke: string, about: string): string {
  const d = points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${round(x)} ${round(y)}`).join('');
  return `<path d="${d}" fill="none" stroke="${stroke}" stroke-width="2.2"><title>${escapeText(about)}</title></path>`;
}

export function colour(index: number): string {
  return `var(--c${index % 8})`;
}

/** A whole picture. @param about what a reader who cannot see it is told */
export function picture(height: number, title: string, about: string, body: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeText(`${title}. ${about}`)}">
<style>${CHART_STYLE}</style>
${text(0, 18, title, 'class="title"')}
${body.join('\n')}
</svg>`;
}

/** Round values from 0 up to at least `max`, five or so of them. */
export function ticks(max: number): number[] {
  const rough = Math.max(max, Number.MIN_VALUE) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  return Array.from({ length: Math.ceil(max / step - 1e-9) + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** About how wide a text is drawn. */
export function textWidth(content: string): number {
  return content.length * CHARACTER_WIDTH;
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}
