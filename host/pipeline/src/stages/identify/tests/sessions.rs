//! Sessions of the UI against the users' table: what a session says of its user holds no longer than the row.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use witgate_caching::{AnswerCache, Memory, MemoryLimits};
use witgate_identity::{
    Caller, KeyHash, MasterKey, ModelList, Named, Principal, Role, Session, VirtualKey,
};

use super::{MASTER, locked};
use crate::failure::Case;
use crate::ports::{LookupFault, VirtualKeys};
use crate::stages::identify::{AuthInput, principal};
use crate::testing::{Setup, chat, with};

/// The users' table: role and models of who is in it.
struct Rows(&'static [(&'static str, Option<&'static str>, &'static [&'static str])]);

#[async_trait]
impl VirtualKeys for Rows {
    async fn find(&self, _: &KeyHash) -> Result<Option<Arc<VirtualKey>>, LookupFault> {
        Ok(None)
    }

    async fn caller(&self, named: &Named) -> Result<Option<Arc<Caller>>, LookupFault> {
        let mut rows = self.0.iter();
        let row = rows.find(|(id, ..)| Some(*id) == named.user.as_deref());
        let models = row.map(|(_, _, models)| *models).unwrap_or_default();
        let principal = Principal {
            user_id: named.user.clone(),
            model_lists: match models.is_empty() {
                true => Vec::new(),
                false => vec![ModelList {
                    owner: "user",
                    models: models.iter().map(|model| (*model).to_owned()).collect(),
                }],
            },
            ..Principal::default()
        };
        Ok(Some(Arc::new(Caller {
            as_key: VirtualKey {
                principal: Arc::new(principal),
                blocked: false,
                team_blocked: false,
                expires: None,
            },
            has_user: row.is_some(),
            has_team: false,
            has_organization: false,
            is_member: false,
            user_role: row.and_then(|(_, role, _)| role.map(str::to_owned)),
            teams: Vec::new(),
        })))
    }
}

fn signed_in(user: &str, role: Role) -> String {
    let session = Session {
        user_id: user.to_owned(),
        user_email: None,
        role,
        models: Vec::new(),
        ends_s: 9_999_999_999,
    };
    let master = MasterKey::new(MASTER);
    format!("Bearer {}", master.signer().unwrap().session_key(&session))
}

fn over(setup: Setup, rows: Rows) -> Setup {
    setup.access(|access| {
        access.keys = Some(Arc::new(rows));
        access.session_budget = Some(1.into());
    })
}

#[tokio::test(start_paused = true)]
async fn a_session_is_what_its_users_row_is_and_ends_with_it() {
    const ROWS: Rows = Rows(&[
        ("bob", Some("internal_user"), &["gpt-4o"]),
        ("eve", None, &[]),
        ("root", Some("proxy_admin"), &[]),
    ]);
    let world = over(locked(), ROWS).build();
    let snapshot = world.gateway.snapshot.load_full();
    for (user, found) in [
        ("bob", Some(Role::InternalUser)),
        ("eve", Some(Role::InternalUserViewer)),
        ("root", Some(Role::ProxyAdmin)),
        ("gone", None),
    ] {
        let mut headers = http::HeaderMap::new();
        let bearer = signed_in(user, Role::ProxyAdmin);
        headers.insert("authorization", bearer.parse().unwrap());
        let input = AuthInput {
            method: "GET",
            url: "/key/list",
            route: "/key/list",
            now: jiff::Timestamp::UNIX_EPOCH,
            headers: &headers,
            ip: None,
            socket: None,
            model: "",
            now_s: 0,
            passage: None,
        };
        let who = principal(&snapshot, &input).await;
        match found {
            None => {
                let case = who.unwrap_err().case;
                assert!(
                    matches!(case, Case::AuthenticationFailed),
                    "{user} {case:?}"
                );
            }
            role => {
                let who = who.unwrap();
                assert_eq!(who.role, role, "{user}");
                assert_eq!(who.models.is_empty(), user != "bob", "{user}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn users_who_are_signed_in_share_no_answers() {
    const ROWS: Rows = Rows(&[
        ("ann", Some("internal_user"), &[]),
        ("bob", Some("internal_user"), &[]),
    ]);
    let mut setup = over(locked(), ROWS);
    let memory = Arc::new(Memory::new(MemoryLimits::default()));
    setup.cache = Some(AnswerCache::new(Default::default(), memory));
    let world = setup.build();
    for (user, calls) in [("ann", 1), ("bob", 2), ("ann", 2)] {
        let bearer = signed_in(user, Role::InternalUser);
        let call = with(chat(json!({})), &[("authorization", &bearer)]);
        let answer = world.send(call).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(world.upstream.calls(), calls, "{user}");
    }
}
