from witgate import Sso, UserValues, refuse


class Plugin(Sso):
    def map_user(self, user, known):
        email, domain = user.email or "", self.settings["domain"]
        if not email.endswith("@" + domain):
            return refuse(f"Only people of {domain} may enter.")
        return UserValues(
            user_id=known["user_id"] if known else email,
            user_email=email,
            user_role="proxy_admin" if email in self.settings["admins"] else "internal_user",
            max_budget=10,
            budget_duration="30d",
        )
