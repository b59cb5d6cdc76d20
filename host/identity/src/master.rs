//! The master key: full rights, known without a database.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{KeyHash, Principal, Role, Signer};

/// `general_settings.master_key` / `LITELLM_MASTER_KEY`. Only its digest and what HMAC makes of it are kept,
/// so a comparison reveals neither content nor length by its time, and nothing can print it.
#[derive(Clone)]
pub struct MasterKey {
    digest: [u8; 32],
    principal: Principal,
    signer: Option<Signer>,
}

impl MasterKey {
    /// The master key with this text.
    #[must_use]
    pub fn new(key: &str) -> Self {
        let principal = Principal {
            key_hash: Some(KeyHash::of(key)),
            user_id: Some("default_user_id".to_owned()),
            role: Some(Role::ProxyAdmin),
            ..Principal::default()
        };
        Self {
            digest: Sha256::digest(key.as_bytes()).into(),
            principal,
            signer: Signer::new(key),
        }
    }

    /// The same key, whose calls are told under LiteLLM's name for it in place of its hash
    /// (`disable_adding_master_key_hash_to_db`).
    #[must_use]
    pub fn under_alias(mut self) -> Self {
        self.principal.key_hash = Some(KeyHash::of_master());
        self
    }

    /// Signs what the gateway gives out.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The administrator, when `key` is the master key.
    #[must_use]
    pub fn check(&self, key: &str) -> Option<&Principal> {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        bool::from(digest.ct_eq(&self.digest)).then_some(&self.principal)
    }

    /// Its hash, as a row of LiteLLM's database would have it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of_digest(&self.digest)
    }

    /// Whether this caller came with the master key itself.
    #[must_use]
    pub fn is(&self, caller: &Principal) -> bool {
        let same = self.principal.key_hash.is_some() && caller.key_hash == self.principal.key_hash;
        same && caller.is_admin() && !caller.session
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_is_the_master_key() {
        let master = MasterKey::new("sk-1234");
        assert_eq!(
            master.check("sk-1234").and_then(|p| p.role.clone()),
            Some(Role::ProxyAdmin)
        );
        for wrong in [
            "",
            "sk-123",
            "sk-12345",
            "SK-1234",
            "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        ] {
            assert!(master.check(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn under_its_alias_it_opens_the_same_and_its_hash_is_not_told() {
        let master = MasterKey::new("sk-1234").under_alias();
        let holder = master.check("sk-1234").unwrap().clone();
        assert!(master.is(&holder) && master.check("sk-12345").is_none());
        let told = holder.key_hash.as_ref().map(KeyHash::as_str);
        assert_eq!(told, Some("litellm_proxy_master_key"));
        assert_eq!(master.hash(), KeyHash::of("sk-1234"));
        // Nobody's key is called so.
        assert_eq!(KeyHash::parse("litellm_proxy_master_key"), None);
    }

    #[test]
    fn only_who_came_with_it_is_its_holder() {
        let master = MasterKey::new("sk-1234");
        let holder = master.check("sk-1234").unwrap().clone();
        assert!(master.is(&holder));
        let session = Principal {
            session: true,
            ..holder.clone()
        };
        let user = Principal {
            role: Some(Role::InternalUser),
            ..holder.clone()
        };
        let admin = Principal {
            key_hash: Some(KeyHash::of("sk-other")),
            ..holder.clone()
        };
        let keyless = Principal {
            key_hash: None,
            ..holder
        };
        for other in [session, user, admin, keyless] {
            assert!(!master.is(&other), "{other:?}");
        }
    }
}
