// Numbers as text.

export const short = (number) => String(Number(number.toPrecision(3))).replace("-", "−");

// A score in percent; if there is no score, the logit.
export function said({ score, logit }) {
  if (score === null) return logit === null ? "?" : short(logit);
  return score < 0.0005 ? "< 0.1 %" : `${(100 * score).toFixed(1)} %`;
}
