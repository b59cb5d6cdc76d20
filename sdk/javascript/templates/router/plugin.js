import { router } from "witgate";

export default router(({ max_in_flight }) => ({
  pick(candidates) {
    const idle = candidates.filter((one) => one.inFlight < max_in_flight);
    return idle.reduce((best, one) => (best === null || one.cost < best.cost ? one : best), null);
  },
}));
