/** What one component of an app asks of the app's budget. Cores. */
export interface BudgetClaim {
  name: string;
  priority: number;
  /** What its smallest count of smallest instances holds. */
  least: number;
  wanted: number;
}

/**
 * Shares out an app's budget: to each its least, the rest by priority, and among equals so that all get the same share of
 * what they want beyond it. Answers only those that get less than they want. The least is given even when the budget does
 * not suffice for it, which the manifest's check rules out.
 */
export function shareBudget(claims: readonly BudgetClaim[], budgetCpu: number): Map<string, number> {
  const cuts = new Map<string, number>();
  let left = budgetCpu - claims.reduce((sum, each) => sum + Math.min(each.least, each.wanted), 0);
  const levels = [...new Set(claims.map((each) => each.priority))].sort((a, b) => b - a);
  for (const level of levels) {
    const group = claims.filter((each) => each.priority === level);
    const beyond = group.reduce((sum, each) => sum + Math.max(0, each.wanted - each.least), 0);
    const share = beyond <= left ? 1 : Math.max(0, left) / beyond;
    left -= Math.min(beyond, Math.max(0, left));
    if (share >= 1) continue;
    for (const { name, least, wanted } of group) {
      if (wanted > least) cuts.set(name, least + share * (wanted - least));
    }
  }
  return cuts;
}
