//! Guardrails that share calls.

use std::sync::Arc;

use async_trait::async_trait;
use witgate_pipeline::{BodyView, GuardCall, Guardrail, PluginFault, StreamGuard, Verdict};

/// Guardrails of one name (`router_settings.guardrail_list`): each call is judged by one of them, by weight.
pub(super) struct Balanced(pub(super) Vec<(f64, Arc<dyn Guardrail>)>);

impl Balanced {
    fn one(&self) -> Result<&Arc<dyn Guardrail>, PluginFault> {
        let total: f64 = self.0.iter().map(|(weight, _)| weight).sum();
        let mut at = rand::random::<f64>() * total;
        let chosen = self.0.iter().find(|(weight, _)| {
            at -= weight;
            at < 0.0
        });
        // When all weigh nothing, the last.
        let chosen = chosen.or(self.0.last());
        chosen
            .map(|(_, plugin)| plugin)
            .ok_or_else(|| PluginFault::new("no guardrail shares the calls".to_owned()))
    }
}

#[async_trait]
impl Guardrail for Balanced {
    async fn check(
        &self,
        call: GuardCall,
        body: Arc<dyn BodyView>,
    ) -> Result<Verdict, PluginFault> {
        self.one()?.check(call, body).await
    }

    async fn open_stream(
        &self,
        call: GuardCall,
    ) -> Result<Option<Box<dyn StreamGuard>>, PluginFault> {
        self.one()?.open_stream(call).await
    }
}
