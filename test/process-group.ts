import { readdirSync, readFileSync } from 'node:fs';

/** The fields of /proc/PID/stat after the name, which may hold anything: state, parent, group, … (proc(5)). */
function statOf(folder: string): string[] {
  const text = readFileSync(`${folder}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function threadLine(folder: string): string {
  const [state] = statOf(folder);
  const read = (name: string) => readFileSync(`${folder}/${name}`, 'utf8').trim();
  return `  ${read('comm')} ${state} waits in ${read('wchan')}, system call ${read('syscall')}`;
}

function processLines(pid: string): string[] {
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => threadLine(`/proc/${pid}/task/${thread}`));
  return [`${pid} ${command}`, ...threads];
}

/** What each process and thread of the group waits in, a line each: for one that does not end, to find out why. */
export function describeGroup(leader: number): string {
  const lines: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (Number(statOf(`/proc/${pid}`)[2]) === leader) lines.push(...processLines(pid));
    } catch (error) {
      // It has ended meanwhile.
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return lines.join('\n');
}
