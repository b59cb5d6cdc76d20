//! Alerts of what is done through the management API.

use std::sync::Arc;

use witgate_events::{AlertKind, Watch};
use witgate_management::{Deed, DeedKind, Herald};

/// Tells of deeds through the watch.
pub struct Deeds(pub Arc<Watch>);

impl Herald for Deeds {
    fn tells(&self, kind: DeedKind) -> bool {
        self.0.tells(alert_kind(kind))
    }

    fn take(&self, deed: Deed) {
        self.0
            .deed(alert_kind(deed.kind), &deed.by, &deed.arguments);
    }
}

const fn alert_kind(kind: DeedKind) -> AlertKind {
    match kind {
        DeedKind::ModelAdded => AlertKind::NewModelAdded,
        DeedKind::KeyCreated => AlertKind::NewVirtualKeyCreated,
        DeedKind::KeyUpdated => AlertKind::VirtualKeyUpdated,
        DeedKind::KeyDeleted => AlertKind::VirtualKeyDeleted,
        DeedKind::TeamCreated => AlertKind::NewTeamCreated,
        DeedKind::TeamUpdated => AlertKind::TeamUpdated,
        DeedKind::TeamDeleted => AlertKind::TeamDeleted,
        DeedKind::UserCreated => AlertKind::NewInternalUserCreated,
        DeedKind::UserUpdated => AlertKind::InternalUserUpdated,
        DeedKind::UserDeleted => AlertKind::InternalUserDeleted,
    }
}
