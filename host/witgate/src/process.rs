//! A running gateway: everything is started here in order, and ended in the opposite one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_config::{Draft, Env, Loaded, Source};
use witgate_events::{EventMetrics, Hub, HubParts, Jitter, Watch};
use witgate_login::{Desk, DeskParts};
use witgate_management::{ControlPlane, StoredRows};
use witgate_pipeline::{Clock, Gateway};
use witgate_plugins::{Host, HostOptions};
use witgate_server::routes::{App, AppOptions, HealthApp};
use witgate_server::{Bound, Server, ServerMetrics, ServerOptions, TlsFiles, Workers};
use witgate_store::{
    Elsewhere, SpendOptions, SpendWriter, SpoolOptions, Store, StoreMetrics, WriterParts,
};

use crate::cli::Serve;
use crate::database::open_store;
use crate::plugin_admin::PluginAdministration;
use crate::reload::{Administration, Control, Reloader};
use crate::source::Place;
use crate::wiring::stored::{self, How, LeftOut};
use crate::wiring::{
    self, Answers, Background, Fanout, Kept, Keys, Known, Models, Paths, Read, Reports, Secrets,
    Services, ShadowMetrics, StoredUsers, Upstreams, W3c,
};

/// Most bytes of spend rows on the disk of the process: about a million rows.
const SPOOL_BYTES: u64 = 1 << 30;

/// How long queues may take to empty when the process ends.
const DRAIN: Duration = Duration::from_secs(10);

/// How long after the start the memory of starting is given back.
const STARTED: Duration = Duration::from_secs(1);

/// Time and ids of the real world.
struct SystemClock {
    start: Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    /// Version 7: ids in the order of their time are appended to the ledger's indexes. Random ones
    /// cost it a page of the index per row.
    fn uuid(&self) -> uuid::Uuid {
        let millis = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

/// From the plugin host, which is there first, to whoever watches.
#[derive(Clone, Default)]
struct Rested(Arc<OnceLock<Weak<Watch>>>);

impl Rested {
    fn watched_by(&self, watch: &Arc<Watch>) {
        // Set once per process.
        let _ = self.0.set(Arc::downgrade(watch));
    }

    fn tell(&self, plugin: &str, rest: Duration) {
        if let Some(watch) = self.0.get().and_then(Weak::upgrade) {
            watch.plugin_rests(plugin, rest);
        }
    }
}

/// What is there before the configuration is complete: a secret manager is a plugin, too.
pub struct Base {
    /// Where things lie.
    pub paths: Paths,
    /// The plugin host.
    pub host: Arc<Host>,
    registry: Registry,
    rested: Rested,
}

impl Base {
    /// Makes the data directory and starts the plugin host.
    pub fn start(options: &Serve, source: &Source, env: &Env) -> anyhow::Result<Self> {
        // Plugins and secret managers are asked for before the configuration is complete.
        let proxies = wiring::proxies(env).map_err(anyhow::Error::msg)?;
        witgate_outbound::use_proxies(proxies);
        let paths = Paths::of(source, options.data_dir.as_deref(), env);
        std::fs::create_dir_all(&paths.data_dir).with_context(|| {
            format!(
                "cannot make the data directory {}",
                paths.data_dir.display()
            )
        })?;
        let mut registry = Registry::default();
        let mut host_options = HostOptions::new(Some(paths.data_dir.clone()));
        host_options.on_progress = wiring::progress_on_stderr();
        let rested = Rested::default();
        let told = rested.clone();
        host_options.on_rest = Arc::new(move |plugin, rest| told.tell(plugin, rest));
        let metrics = witgate_plugins::Metrics::register(&mut registry);
        let host = Host::start(host_options, metrics)?;
        Ok(Self {
            paths,
            host,
            registry,
            rested,
        })
    }
}

/// What ends with the process, in the order in which it ends.
struct Parts {
    gateway: Arc<Gateway>,
    desk: Arc<Desk>,
    hub: Arc<Hub>,
    spend: SpendWriter,
    store: Store,
    host: Arc<Host>,
    plane: Arc<ControlPlane>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Serves until a signal says stop.
pub async fn serve(
    options: Serve,
    (place, env): (Place, Env),
    (draft, loaded): (Draft, Loaded),
    base: Base,
    secrets: Secrets,
) -> anyhow::Result<()> {
    report(&loaded);
    let bind = bind_address(&options, &loaded)?;
    let Base {
        paths,
        host,
        mut registry,
        rested,
    } = base;
    let mut server_options = server_options(&options, bind, &mut registry);
    let workers = workers(options.num_workers)?;
    server_options.workers = workers.clone();
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let store = open_store(&loaded, &paths).await?;
    let fresh = store.keep_password_fresh();
    tasks.spawn(stop.clone().run_until_cancelled_owned(fresh));
    let background = Background {
        runtime: tokio::runtime::Handle::current(),
        tasks: tasks.clone(),
    };
    let known = Known::default();
    known.shared().runs_on(background.clone());
    let heard = known.clone();
    let books = witgate_metering::Books::new();
    let plane = Arc::new(ControlPlane::new(
        store.clone(),
        witgate_management::Settings::default(),
        Arc::new(wiring::Heard {
            known: known.clone(),
            books: books.clone(),
        }),
    ));
    let services = Services::default();
    let kept = Kept {
        answers: Answers::new(
            witgate_caching::CacheMetrics::register(&mut registry),
            background.clone(),
            stop.clone(),
            paths.data_dir.clone(),
        ),
        redis: None,
        redis_parts: witgate_state::RedisParts {
            tracker: tasks.clone(),
            stop: stop.clone(),
            clock: {
                let start = Instant::now();
                Arc::new(move || start.elapsed())
            },
            metrics: witgate_state::StateMetrics::register(&mut registry),
            observe: Some(Arc::new(services.clone())),
        },
        providers: wiring::Providers::new()?,
        peers: wiring::SharedPeers::default(),
        auto_known: HashMap::new(),
        limiter: witgate_metering::Limiter::new(witgate_metering::Rules::default()),
        books,
        host,
        disabled: wiring::Disabled::read(&paths.data_dir)?,
        keys: Arc::new(Keys::new(plane.clone(), known.clone())),
        known,
        plane,
        upstreams: Upstreams::default(),
        paths,
        secrets,
        texts: wiring::StoredTexts::start(store.clone(), &tasks, &stop),
        concurrency: options.limit_concurrency,
        background,
        shadow_metrics: ShadowMetrics::register(&mut registry),
        shadows: Reports::new(),
        record: options.record.clone(),
    };
    let (parts, control) = start(
        &options,
        (place, env, draft),
        (kept, store),
        (rested, services),
        &mut registry,
        (&tasks, &stop),
    )
    .await?;
    // Cancelled when no new connections are taken any more.
    let stopping = CancellationToken::new();
    let administration = Arc::new(Administration::new(control.clone()));
    parts.plane.serves(administration.clone());
    let app = App {
        gateway: parts.gateway.clone(),
        admin: administration,
        plugins: Arc::new(PluginAdministration::new(control.clone(), stopping.clone())),
        plane: parts.plane.clone(),
        desk: parts.desk.clone(),
        docs: Arc::new(wiring::docs(
            &control.loaded().environment,
            &root_path(&control),
        )?),
        registry: Arc::new(registry),
        options: app_options(&control),
    };

    if let Some(bind) = health_address(&control, bind)? {
        let mut options = ServerOptions::new(bind);
        options.workers = workers.clone();
        let bound = Server::bind(options)?;
        tracing::info!("health routes on http://{}", bound.local_addr());
        let served = bound.serve(HealthApp(app.clone()), stopping.clone(), tasks.clone());
        tasks.spawn(async move {
            let drained = served.await;
            tracing::info!(
                cut = drained.cut,
                "all connections to the health routes are closed"
            );
        });
    }
    let bound = Server::bind(server_options)?;
    let address = bound.local_addr();
    let watcher = control.clone().watch(&tasks, &stop)?;
    tasks.spawn(control.clone().keep_secrets_fresh(stop.clone()));
    tasks.spawn(control.clone().keep_stored_fresh(heard, stop.clone()));
    tasks.spawn(control.clone().keep_prices_fresh(stop.clone()));
    tasks.spawn(control.clone().keep_budget_metrics_fresh(stop.clone()));
    tasks.spawn(crate::health_records::keep(
        parts.gateway.clone(),
        parts.store.clone(),
        stop.clone(),
    ));
    let checked = parts.gateway.clone();
    tasks.spawn(witgate_pipeline::keep_checking(
        checked,
        stop.clone().cancelled_owned(),
    ));
    let ended = stop.clone();
    tasks.spawn(async move {
        // The threads that loaded plugins have ended by then, and what they held is free.
        tokio::select! {
            () = tokio::time::sleep(STARTED) => give_back_memory(),
            () = ended.cancelled() => {}
        }
    });
    announce(address, options.ssl_certfile_path.is_some());
    let served = until_signal(bound, app, &tasks, control, stopping).await;
    drop(watcher);
    end(parts).await;
    // Until here: calls may have left work behind that runs where they were served.
    drop(workers);
    served
}

/// Where the health routes have a listener of their own, if they do.
fn health_address(control: &Control, bind: SocketAddr) -> anyhow::Result<Option<SocketAddr>> {
    const PORT: u16 = 4001;
    let loaded = control.loaded();
    let env = &loaded.environment;
    if env.flag("SEPARATE_HEALTH_APP") != Some(true) {
        return Ok(None);
    }
    let port = match env.non_empty("SEPARATE_HEALTH_PORT") {
        None => PORT,
        Some(text) => text.trim().parse().with_context(|| {
            format!("SEPARATE_HEALTH_PORT: expected a port from 0 to 65535, not {text:?}")
        })?,
    };
    Ok(Some(SocketAddr::new(bind.ip(), port)))
}

/// The threads that serve connections: one per processor unless `--num_workers` says otherwise.
fn workers(count: Option<usize>) -> anyhow::Result<Workers> {
    let count = count
        .filter(|count| *count > 0)
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    Workers::start(count.unwrap_or(1), witgate_outbound::keep_own_connections)
        .context("cannot start the threads that serve connections")
}

/// Starting takes memory that serving does not need: configuration tables, and compilers when a plugin is
/// new.
#[allow(
    unsafe_code,
    reason = "a foreign function without arguments that could be wrong"
)]
fn give_back_memory() {
    // SAFETY: mimalloc is the process's allocator; collecting touches only its own free lists.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// The one line on standard output: a script that waits for it knows the port.
#[allow(
    clippy::print_stdout,
    reason = "the contract of `witgate serve`: this line says that it is ready"
)]
fn announce(address: SocketAddr, tls: bool) {
    println!(
        "listening on {}://{address}",
        if tls { "https" } else { "http" }
    );
}

/// Tells once what is odd about the configuration and what has no effect yet.
fn report(loaded: &Loaded) {
    for problem in &loaded.problems {
        tracing::warn!("{problem}");
    }
    let planned = loaded.config.planned_in_use();
    if !planned.is_empty() {
        let keys: Vec<&str> = planned.iter().map(|(path, _)| path.as_str()).collect();
        tracing::warn!(
            "known, and without effect in this release: {}",
            keys.join(", ")
        );
    }
}

/// Master keys that stand in documentation, and so in many a config.
const WEAK_KEYS: [&str; 2] = ["", "sk-1234"];

/// Without a master key, custom authentication and an identity provider everybody may call; only loopback may then be served,
/// unless the operator insists.
fn bind_address(options: &Serve, loaded: &Loaded) -> anyhow::Result<SocketAddr> {
    let general = &loaded.config.general;
    let permitted = general.dangerously_permit_weak_or_unset_master_key;
    let key = general.master_key.as_ref().map(|key| key.reveal().trim());
    let is_weak = key.is_some_and(|key| WEAK_KEYS.contains(&key));
    if permitted == Some(false) && (is_weak || key.is_none()) {
        bail!(
            "there is no master key, or a weak one such as sk-1234, and general_settings.dangerously_permit_weak_or_unset_master_key is false; set general_settings.master_key or LITELLM_MASTER_KEY to a long random text"
        );
    }
    if is_weak && permitted.is_none() {
        tracing::warn!(
            "WEAK MASTER KEY: it stands in documentation, so anybody can guess it; set general_settings.master_key or LITELLM_MASTER_KEY to a long random text"
        );
    }
    let custom_off = wiring::custom_auth_mode(&loaded.config) == "off";
    let custom = general.custom_auth.is_some() && !custom_off;
    let open = general.master_key.is_none() && !custom && !wiring::vouches(loaded);
    let host = match (options.host, open) {
        (Some(host), _) => host,
        (None, true) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (None, false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let insists = options.allow_unauthenticated || permitted == Some(true);
    if open {
        if !host.is_loopback() && !insists {
            bail!(
                "no master key is configured, so anybody who reaches {host} could spend your provider keys; set general_settings.master_key or LITELLM_MASTER_KEY, listen on 127.0.0.1, or say --allow-unauthenticated"
            );
        }
        tracing::warn!(
            "NO MASTER KEY: every request is accepted, as an administrator's; set general_settings.master_key or LITELLM_MASTER_KEY"
        );
    }
    Ok(SocketAddr::new(host, options.port))
}

fn server_options(options: &Serve, bind: SocketAddr, registry: &mut Registry) -> ServerOptions {
    let mut server = ServerOptions::new(bind);
    server.metrics = ServerMetrics::register(registry);
    if let (Some(cert), Some(key)) = (&options.ssl_certfile_path, &options.ssl_keyfile_path) {
        server.tls = Some(TlsFiles {
            cert: cert.clone(),
            key: key.clone(),
        });
    }
    if let Some(s) = options.keepalive_timeout {
        server.limits.keep_alive_idle = Duration::from_secs(s);
    }
    server
}

fn root_path(control: &Control) -> String {
    let loaded = control.loaded();
    let root = loaded.environment.non_empty("SERVER_ROOT_PATH");
    root.unwrap_or_default().trim_end_matches('/').to_owned()
}

fn app_options(control: &Control) -> AppOptions {
    let loaded = control.loaded();
    let litellm = loaded.config.raw.get("litellm_settings");
    let guarded = litellm.and_then(|s| s.get("require_auth_for_metrics_endpoint"));
    AppOptions {
        root_path: root_path(control),
        metrics_need_auth: guarded
            .and_then(serde_json::Value::as_bool)
            .unwrap_or(false),
    }
}

async fn start(
    options: &Serve,
    (place, env, draft): (Place, Env, Draft),
    (mut kept, store): (Kept, Store),
    (rested, services): (Rested, Services),
    registry: &mut Registry,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> anyhow::Result<(Parts, Arc<Control>)> {
    let (host, plane) = (kept.host.clone(), kept.plane.clone());
    let (peers, known) = (kept.peers.clone(), kept.known.clone());
    let embedding = kept.answers.gateway.clone();
    let how = How {
        read: Read::Due,
        strict: options.strict_config,
        plugins: None,
        last: &StoredRows::default(),
    };
    let built = stored::build(&draft, &mut kept, how).await;
    let built = built.map_err(|problems| {
        anyhow::anyhow!("the configuration is refused:\n{}", problems.join("\n"))
    })?;
    stored::tell(&built.left_out, &LeftOut::new());
    let ledger = Arc::new(ArcSwap::from_pointee(built.wired.ledger));
    let buffer = wiring::SpendBuffer::new(peers.clone(), ledger.clone());
    let spend = SpendWriter::start(
        &store,
        SpendOptions {
            spool: Some(SpoolOptions {
                folder: kept.paths.data_dir.join("spend"),
                most_bytes: SPOOL_BYTES,
            }),
            ..wiring::spend_options(&built.loaded)
        },
        WriterParts {
            tracker: tasks.clone(),
            token: stop.clone(),
            metrics: StoreMetrics::register(registry),
            now: Arc::new(jiff::Timestamp::now),
            observe: Some(services.of_the_ledger(store.is_postgres())),
            elsewhere: Elsewhere {
                hand_over: Some(buffer.hand_over()),
                send_rows: wiring::send_rows(&built.loaded)?,
            },
        },
    );
    tasks.spawn(buffer.write_for_all(spend.clone(), stop.clone()));
    let wired = built.wired;
    kept.secrets = built.secrets;
    kept.texts.put(kept.secrets.place(&built.loaded));
    plane.keeps_texts_with(kept.texts.clone());
    plane.settings.store(Arc::new(wired.control));
    let hub = Arc::new(Hub::new(
        HubParts {
            tracker: tasks.clone(),
            token: stop.clone(),
            metrics: EventMetrics::register(registry),
            jitter: Jitter::random(),
        },
        wired.hub,
    ));
    services.told_to(&hub);
    let audience = Arc::downgrade(&hub);
    store.tell_new_rows(
        "LiteLLM_AuditLog",
        Arc::new(move |row| wiring::tell_of_audit(&audience, row)),
    );
    let watch = Watch::new(hub.clone(), wired.alerts, Arc::new(jiff::Timestamp::now));
    rested.watched_by(&watch);
    let letters = wiring::Letters::new(watch.clone(), hub.clone());
    kept.plane.posts_with(Arc::new(letters));
    kept.plane
        .heralded_by(Arc::new(wiring::Deeds(watch.clone())));
    tasks.spawn(watch.clone().run(stop.clone()));
    let fanout = Arc::new(Fanout {
        hub: hub.clone(),
        budgets: wiring::BudgetAlerts::new(watch.clone(), peers.clone(), kept.background.clone()),
        watch,
        spend: spend.clone(),
        ledger,
    });
    let gateway = Arc::new(Gateway {
        limiter: kept.limiter.clone(),
        books: kept.books.clone(),
        active: Arc::default(),
        freed: tokio::sync::Notify::new(),
        queue: Arc::default(),
        snapshot: ArcSwap::from_pointee(wired.snapshot),
        recorder: fanout.clone(),
        trace: Arc::new(W3c::default()),
        clock: Arc::new(SystemClock {
            start: Instant::now(),
        }),
        prices: witgate_wire::prices::Prices::new(),
        health: witgate_pipeline::Health::default(),
        metrics: witgate_pipeline::Metrics::new(registry),
        // Apart from the workers': this work adds records, so it must end before the queues do.
        tasks: TaskTracker::new(),
    });
    let (timetable, times) = tokio::sync::watch::channel(wired.timetable);
    let resets = times.clone();
    tasks.spawn(wiring::jobs::run(
        plane.clone(),
        times,
        (services.clone(), peers.clone()),
        stop.clone(),
    ));
    let (every_days, first_after) = wired.spend_reports;
    let reports = wiring::SpendReports {
        plane: plane.clone(),
        watch: fanout.watch.clone(),
        peers: peers.clone(),
        every_days,
        first_after,
    };
    tasks.spawn(reports.run(stop.clone()));
    tasks.spawn(wiring::synchronise(
        gateway.clone(),
        peers,
        known,
        stop.clone(),
    ));
    let limiter = gateway.limiter.clone();
    tasks.spawn(limiter.keep_shared(stop.clone().cancelled_owned()));
    let books = gateway.books.clone();
    tasks.spawn(books.keep_shared(jiff::Timestamp::now, stop.clone().cancelled_owned()));
    tasks.spawn(wiring::begin_periods(
        gateway.clone(),
        store.clone(),
        resets,
        stop.clone(),
    ));
    // Set once per process.
    let _ = embedding.set(Arc::downgrade(&gateway));
    host.serve_models(Arc::new(Models(Arc::downgrade(&gateway))));
    let desk = Arc::new(Desk::new(
        DeskParts {
            users: Arc::new(StoredUsers::new(plane.clone())),
            now_s: Arc::new(|| {
                u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
            }),
            random: Arc::new(rand::random::<[u8; 32]>),
        },
        wired.login,
    ));
    let control = Arc::new(Control::new(
        Reloader {
            place,
            env,
            kept,
            strict: options.strict_config,
            rows: built.rows,
            left_out: built.left_out,
            read_for: 0,
        },
        (draft, built.loaded, wired.plugins),
        gateway.clone(),
        fanout,
        desk.clone(),
        timetable,
        registry,
    ));
    let parts = Parts {
        gateway,
        desk,
        hub,
        spend,
        store,
        host,
        plane,
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    Ok((parts, control))
}

/// Serves until SIGTERM or SIGINT, then lets calls under way finish. SIGHUP reloads.
async fn until_signal(
    bound: Bound,
    app: App,
    tasks: &TaskTracker,
    control: Arc<Control>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let token = shutdown.clone();
    let signals = async {
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = interrupt.recv() => break,
                // A store that does not answer must not hold up the end.
                _ = hangup.recv() => tokio::select! {
                    () = control.reload_logged("SIGHUP", wiring::Read::All) => {}
                    _ = term.recv() => break,
                    _ = interrupt.recv() => break,
                },
            }
        }
        tracing::info!("stopping: no new connections, calls under way are finished");
        token.cancel();
        // A reload that is asked for while stopping has nothing to reload into.
        std::future::pending::<()>().await
    };
    tokio::select! {
        drained = bound.serve(app, shutdown.clone(), tasks.clone()) => {
            tracing::info!(cut = drained.cut, "all connections are closed");
            Ok(())
        }
        () = signals => Ok(()),
    }
}

/// Empties every queue, then stops what is left.
async fn end(parts: Parts) {
    parts.gateway.tasks.close();
    if tokio::time::timeout(DRAIN, parts.gateway.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            tasks = parts.gateway.tasks.len(),
            "calls were still being settled at the end"
        );
    }
    for (sink, events) in parts.hub.drain(DRAIN).await.undelivered {
        tracing::error!(sink, events, "log events were not delivered before the end");
    }
    let lost = parts.spend.drain(DRAIN).await;
    if lost > 0 {
        tracing::error!(rows = lost, "spend rows were not written before the end");
    }
    parts.stop.cancel();
    parts.tasks.close();
    if tokio::time::timeout(DRAIN, parts.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            tasks = parts.tasks.len(),
            "tasks were still running at the end"
        );
    }
    parts.host.shutdown().await;
    parts.store.close().await;
    drop(parts.gateway);
}
