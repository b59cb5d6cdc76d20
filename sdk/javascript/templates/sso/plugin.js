import { refuse, sso } from "witgate";

export default sso(({ domain, admins }) => ({
  mapUser({ email }, known) {
    if (!email?.endsWith(`@${domain}`)) return refuse(`Only people of ${domain} may enter.`);
    return {
      userId: known?.user_id ?? email,
      userEmail: email,
      userRole: admins.includes(email) ? "proxy_admin" : "internal_user",
      maxBudget: 10,
      budgetDuration: "30d",
    };
  },
}));
