//! Rounds in the background: each gateway's own, or one for all that share a store.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::{Checked, check};
use crate::gateway::Gateway;
use crate::ports::{Round, SharedHealth};
use crate::snapshot::Snapshot;

/// How often it is looked whether rounds in the background are wanted, while they are not.
const IDLE: Duration = Duration::from_secs(5);

/// How often it is looked whether another gateway has ended its round.
const LOOK: Duration = Duration::from_secs(5);

/// How long another gateway may take for a round: as long as it may have the lock.
const OTHERS_ROUND: Duration = Duration::from_secs(60);

/// Who checks, in the history.
const BACKGROUND: &str = "background_health_check";

/// Makes rounds in the background until `stop`, whenever the configuration in force wants them.
pub async fn keep_checking(gateway: Arc<Gateway>, stop: impl Future<Output = ()>) {
    let rounds = async {
        loop {
            let snapshot = gateway.snapshot.load_full();
            let settings = &snapshot.settings.health;
            if settings.background {
                let found = round(&gateway, &snapshot).await;
                tell_routing(&gateway, &snapshot, &found);
                let clock = gateway.clock.as_ref();
                gateway.health.note(&found, Some(BACKGROUND), clock);
                gateway.health.last.store(Some(Arc::new(found)));
                sleep(settings.interval.max(Duration::from_secs(1))).await;
            } else {
                gateway.health.last.store(None);
                sleep(IDLE).await;
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop => {}
    }
}

/// What the deployments are like: found here, or by another gateway.
async fn round(gateway: &Arc<Gateway>, snapshot: &Arc<Snapshot>) -> Vec<Checked> {
    match &snapshot.shared_health {
        Some(shared) => shared_round(gateway, snapshot, shared.as_ref()).await,
        None => own_round(gateway, snapshot).await,
    }
}

async fn own_round(gateway: &Arc<Gateway>, snapshot: &Arc<Snapshot>) -> Vec<Checked> {
    check(gateway, snapshot, is_checked).await
}

fn is_checked(snapshot: &Snapshot, index: usize) -> bool {
    let info = &snapshot.targets[index].info.1;
    info.get("disable_background_health_check") != Some(&Value::Bool(true))
}

/// One gateway checks, the others take over what it found. Who cannot ask the others checks for itself.
async fn shared_round(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    shared: &dyn SharedHealth,
) -> Vec<Checked> {
    let mut waited = Duration::ZERO;
    loop {
        match shared.round(gateway.clock.now()).await {
            Round::Found(found) => return known_here(snapshot, found),
            Round::Ours => {
                let found = own_round(gateway, snapshot).await;
                shared.found(&found, gateway.clock.now()).await;
                return found;
            }
            Round::Others if waited < OTHERS_ROUND => {
                sleep(LOOK).await;
                waited += LOOK;
            }
            Round::Others | Round::Unknown => return own_round(gateway, snapshot).await,
        }
    }
}

/// Of what another gateway found, the deployments that this one has, too.
fn known_here(snapshot: &Snapshot, mut found: Vec<Checked>) -> Vec<Checked> {
    found.retain(|one| {
        let index = snapshot.routing.index_of(&one.id);
        index.is_some_and(|index| is_checked(snapshot, index))
    });
    found
}

/// What a round found counts for two rounds unless told otherwise; a deployment that is not checked any
/// more is forgotten so.
fn tell_routing(gateway: &Gateway, snapshot: &Snapshot, found: &[Checked]) {
    let settings = &snapshot.settings.health;
    let counts_for = settings.counts_for.unwrap_or(settings.interval * 2);
    let (serving, now) = (gateway.snapshot.load(), gateway.moment());
    for checked in found {
        let (id, is_healthy) = (&checked.id, checked.is_healthy);
        serving.state.checked(id, is_healthy, counts_for, now);
    }
}
