// Numbers in words.

export const short = (number) => String(Number(number.toPrecision(3))).replace("-", "−");

// A score in percent; where there is no score, the number that the network gives.
export function said({ score, logit }) {
  if (score === null) return logit === null ? "?" : short(logit);
  return score < 0.0005 ? "< 0.1 %" : `${(100 * score).toFixed(1)} %`;
}
