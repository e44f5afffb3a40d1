// The budget slider: the settings of the deployment's table, or gate thresholds where it has none.

const STEPS = 20;

/**
 * Cheapest first, so that the slider's right end is the network as trained.
 * @returns {{query: object, amount: string, meaning: string}[]}
 */
export function budgetSteps(description) {
  if (!description.gated) return [];
  if (description.budget.length) return description.budget.map(ofSetting).reverse();
  return Array.from({ length: STEPS + 1 }, (_, i) => ofThreshold((STEPS - i) / STEPS));
}

function ofSetting(setting) {
  const { gflops, milliseconds, agreement, gate_threshold } = setting;
  const kept = gate_threshold === 0 ? "as trained" : `${percent(agreement)} of the pixels kept their class`;
  return {
    query: { gate_threshold }, // as GFLOPs it would be of the image's own size, the table's are of another
    amount: `${figure(gflops)} GFLOPs`,
    meaning: `On average when calibrated: ${figure(milliseconds)} ms, ${kept}. Gate threshold ${figure(gate_threshold)}.`,
  };
}

function ofThreshold(threshold) {
  const meaning = threshold === 0 ? "As trained." : "Paths whose gate is not above the threshold are skipped.";
  return {
    query: { gate_threshold: threshold },
    amount: `gate threshold ${threshold.toFixed(2)}`,
    meaning: `${meaning} This model has no budget table (adroit budget).`,
  };
}

/** Three digits. */
export function figure(value) {
  return value === 0 ? "0" : Number(value.toPrecision(3)).toString();
}

export function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}
