//! The small interfaces: settings, clock, random, log, metrics, files, and the shared types.

use serde_json::json;

use super::files::AppendError;
use super::log::{Level, LogSource};
use super::state::State;
use crate::bindings::witgate::host::{clock, files, log, metrics, random, settings};
use crate::bindings::witgate::types::types;
use crate::metrics::{CustomKind, Definition, NamedKind};
use crate::record::{Find, value_of_bytes};

/// Random bytes per call.
const RANDOM_MAX: u32 = 64 << 10;
/// Bytes of log lines that one call may write before the rest is dropped.
const LOG_BYTES_PER_CALL: usize = 256 << 10;
/// Bytes kept of a panic's message.
const PANIC_MAX: usize = 4 << 10;

impl types::Host for State {}

impl settings::Host for State {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.context.settings.get(&name))
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        Ok(self.context.settings.json().to_owned())
    }

    fn env(&mut self, name: String) -> wasmtime::Result<Result<Option<String>, String>> {
        let context = &self.context;
        if context.env.contains(&name) {
            return Ok(Ok((context.env_lookup)(&name)));
        }
        context.metrics.denied("env");
        Ok(Err(format!(
            "the environment variable {name:?} is not granted: the plugin's manifest must ask for it, and `plugins.{}.grants.env`, when given, must list it",
            context.name
        )))
    }
}

impl clock::Host for State {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(self.senses.now_ms())
    }

    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        Ok(self.senses.monotonic_ns())
    }
}

impl random::Host for State {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; count.min(RANDOM_MAX) as usize];
        self.senses.fill_random(&mut bytes);
        Ok(bytes)
    }

    fn uuid(&mut self) -> wasmtime::Result<String> {
        let mut bytes = [0; 16];
        self.senses.fill_random(&mut bytes);
        Ok(uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string())
    }
}

impl log::Host for State {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.note(
            "log.write",
            || json!({"level": level.as_str(), "message": message, "fields": fields}),
        );
        self.log_line(level, &message, &fields);
        Ok(())
    }

    fn panic(&mut self, message: String) -> wasmtime::Result<()> {
        self.note("log.panic", || json!({"message": message}));
        let mut message = self.context.log.clean(&message);
        message.truncate(message.floor_char_boundary(PANIC_MAX));
        self.call.panic = Some(message);
        Ok(())
    }
}

impl State {
    /// Writes a line under the plugin's name, within the bounds of this call and of the plugin.
    pub(crate) fn log_line(&mut self, level: Level, message: &str, fields: &[(String, String)]) {
        self.call.log_bytes = self.call.log_bytes.saturating_add(message.len());
        let kept = self.call.log_bytes <= LOG_BYTES_PER_CALL
            && self
                .context
                .log
                .write(LogSource::Log, level, message, fields);
        if !kept {
            self.context.metrics.log_dropped.inc();
        }
    }
}

impl metrics::Host for State {
    fn add(
        &mut self,
        name: String,
        labels: Vec<(String, String)>,
        amount: u64,
    ) -> wasmtime::Result<()> {
        self.note(
            "metrics.add",
            || json!({"name": name, "labels": labels, "amount": amount}),
        );
        self.custom(CustomKind::Counter, &name, labels, amount as f64);
        Ok(())
    }

    fn observe(
        &mut self,
        name: String,
        labels: Vec<(String, String)>,
        value: f64,
    ) -> wasmtime::Result<()> {
        self.note(
            "metrics.observe",
            || json!({"name": name, "labels": labels, "value": value}),
        );
        self.custom(CustomKind::Histogram, &name, labels, value);
        Ok(())
    }

    fn define(&mut self, metrics: Vec<metrics::Metric>) -> wasmtime::Result<Result<(), String>> {
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        self.note("metrics.define", || json!({"names": names}));
        let definitions = metrics.into_iter().map(|metric| Definition {
            name: metric.name,
            kind: match metric.kind {
                metrics::MetricKind::Counter => NamedKind::Counter,
                metrics::MetricKind::Gauge => NamedKind::Gauge,
                metrics::MetricKind::Histogram => NamedKind::Histogram,
            },
            help: metric.help,
            labels: metric.labels,
            buckets: metric.buckets,
        });
        let context = &self.context;
        let defined = context
            .named
            .define(&context.metric_prefixes, definitions.collect());
        if defined.is_err() {
            context.metrics.denied("metric");
        }
        Ok(defined)
    }

    fn record_samples(&mut self, samples: Vec<metrics::Sample>) -> wasmtime::Result<u32> {
        for sample in &samples {
            let shown =
                || json!({"name": sample.name, "labels": sample.labels, "value": sample.value});
            self.note("metrics.record-sample", shown);
        }
        let context = &self.context;
        if let Some(world) = &context.world {
            for sample in &samples {
                let names = context.named.labels(&sample.name);
                let values = sample.labels.iter().cloned();
                let labels: Option<Vec<_>> =
                    names.map(|names| names.into_iter().zip(values).collect());
                if let Some(labels) = labels {
                    world.sample(&sample.name, &labels, sample.value);
                }
            }
        }
        let samples = samples
            .into_iter()
            .map(|sample| (sample.name, sample.labels, sample.value));
        let dropped = context.named.record(samples);
        context.metrics.denied_often("metric", dropped as u64);
        Ok(u32::try_from(dropped).unwrap_or(u32::MAX))
    }
}

impl State {
    fn custom(&self, kind: CustomKind, name: &str, labels: Vec<(String, String)>, amount: f64) {
        let context = &self.context;
        if !context
            .custom
            .record(&context.name, kind, name, labels, amount)
        {
            context.metrics.denied("metric");
        }
    }
}

impl files::Host for State {
    async fn append(
        &mut self,
        name: String,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), String>> {
        let taken = self.asked(
            "files.append",
            Find::Same,
            || json!({"name": name, "data": value_of_bytes(&data)}),
        );
        if let Some(known) = taken.known() {
            return Ok(known);
        }
        let context = &self.context;
        let appended = match context.files.append(&context.name, &name, data).await {
            Ok(()) => Ok(()),
            Err(AppendError::Io(reason)) => Err(format!("the file {name:?}: {reason}")),
            Err(AppendError::Denied(reason)) => {
                context.metrics.denied("file");
                Err(reason)
            }
        };
        taken.end(|| appended.clone());
        Ok(appended)
    }
}
