/** A list such as 0-3,8 (cpuset(7), list format); what is none of it names no core. */
export function parseCores(text: string): number[] {
  const found: number[] = [];
  for (const part of text.trim().split(',')) {
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (first === undefined) continue;
    for (let core = Number(first); core <= Number(last); core += 1) found.push(core);
  }
  return found;
}

export function formatCores(cores: readonly number[]): string {
  return cores.join(',');
}
