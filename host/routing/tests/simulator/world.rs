//! The world: a clock, clients, deployments. It drives routing the way the gateway's call stage does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use witgate_routing::{
    Blame, Decision, DeploymentSpec, ErrorClass, Facts, Failure, Fault, Measured, Now,
    RequestControls, Resolution, RoutingSettings, Snapshot, State, Strategy, Try, Walk, select,
};

use super::traffic::{Called, Traffic, Tried};

/// What a deployment sees of a try.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Since the beginning of the world.
    pub at: Duration,
    /// Tries that began here in this minute, this one included.
    pub this_minute: u64,
    /// Seconds of the minute that are left.
    pub minute_left: Duration,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub takes: Duration,
    pub first_token: Option<Duration>,
    /// Of prompt and answer; the answer has a quarter of them.
    pub tokens: u64,
    pub cost: f64,
    pub error: Option<(ErrorClass, Option<Duration>)>,
}

impl Answer {
    /// A good one of a hundred tokens.
    pub fn after(millis: f64) -> Answer {
        Answer {
            takes: Duration::from_secs_f64(millis / 1000.0),
            first_token: None,
            tokens: 100,
            cost: 0.0,
            error: None,
        }
    }

    /// A failure after a moment.
    pub fn error(class: ErrorClass) -> Answer {
        Answer {
            error: Some((class, None)),
            ..Answer::after(50.0)
        }
    }
}

type Behaviour = Box<dyn Fn(Ask, &mut StdRng) -> Answer>;

/// A deployment.
pub struct Backend {
    pub spec: DeploymentSpec,
    behaves: Behaviour,
}

/// A deployment of the group `g`.
pub fn backend(
    spec: DeploymentSpec,
    behaves: impl Fn(Ask, &mut StdRng) -> Answer + 'static,
) -> Backend {
    let behaves = Box::new(behaves);
    Backend { spec, behaves }
}

/// One that is always well and takes about this long.
pub fn steady(millis: f64, spec: DeploymentSpec) -> Backend {
    backend(spec, move |_, rng| Answer::after(around(millis, rng)))
}

/// Within a fifth of it.
pub fn around(value: f64, rng: &mut StdRng) -> f64 {
    value * rng.random_range(0.8..1.2)
}

/// What of the clients bears on routing.
#[derive(Debug, Clone, Copy)]
pub struct Clients {
    pub per_second: f64,
    pub prompt_tokens: u64,
    pub stream: bool,
}

pub fn clients(per_second: f64) -> Clients {
    Clients {
        per_second,
        prompt_tokens: 75,
        stream: false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    /// The gateways tell each other.
    Exchange,
    /// The call's number.
    Ends(usize),
    Retries(usize),
}

/// What gateways have between them.
pub trait Between {
    /// Once a second: a gateway tells the others what it counts, and hears what they do.
    fn exchange(&mut self, gateway: usize, snapshot: &Snapshot, state: &State, now: Now);
    /// Counts a call of a deployment against its limit of the minute; false when that is reached.
    fn count(&mut self, snapshot: &Snapshot, index: usize, limit: u64, now: Now) -> bool;
}

/// How often they tell each other.
const EXCHANGE: Duration = Duration::from_secs(1);

struct Call {
    arrived: Duration,
    /// Whom the client asks.
    gateway: usize,
    clients: Clients,
    resolution: Resolution,
    walk: Walk,
    trying: Option<(Try, Answer)>,
}

pub struct World {
    pub snapshot: Snapshot,
    /// Of each gateway.
    pub states: Vec<State>,
    between: Option<Box<dyn Between>>,
    pub traffic: Traffic,
    specs: Vec<DeploymentSpec>,
    settings: RoutingSettings,
    backends: Vec<Behaviour>,
    begin: Now,
    now: Now,
    rng: StdRng,
    queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    calls: Vec<Call>,
    clients: Clients,
    under_way: Vec<u32>,
    of_minute: Vec<(u64, u64)>,
}

impl World {
    pub fn new(backends: Vec<Backend>, settings: RoutingSettings) -> World {
        World::of(1, backends, settings)
    }

    /// With several gateways that serve the same configuration and have this between them.
    pub fn shared(
        gateways: usize,
        backends: Vec<Backend>,
        settings: RoutingSettings,
        between: Box<dyn Between>,
    ) -> World {
        let mut world = World::of(gateways, backends, settings);
        world.between = Some(between);
        world.schedule(EXCHANGE, Event::Exchange);
        world
    }

    fn of(gateways: usize, backends: Vec<Backend>, settings: RoutingSettings) -> World {
        let (mut specs, mut behaviours) = (Vec::new(), Vec::new());
        for (at, backend) in backends.into_iter().enumerate() {
            let mut spec = backend.spec;
            spec.id = Some(format!("d{at}"));
            if spec.model_group.is_empty() {
                spec.model_group = "g".into();
            }
            if spec.model.is_empty() {
                spec.model = "openai/m".into();
            }
            specs.push(spec);
            behaviours.push(backend.behaves);
        }
        let snapshot = Snapshot::build(specs.clone(), settings.clone());
        let count = specs.len();
        // A minute of the calendar begins with the world.
        let begin = Now {
            monotonic: Duration::from_secs(1000),
            unix_s: 1_700_000_040,
        };
        World {
            states: (0..gateways).map(|_| State::new(&snapshot)).collect(),
            between: None,
            snapshot,
            traffic: Traffic {
                peaks: vec![0; count],
                ..Traffic::default()
            },
            specs,
            settings,
            backends: behaviours,
            begin,
            now: begin,
            rng: StdRng::seed_from_u64(20),
            queue: BinaryHeap::new(),
            scheduled: 0,
            calls: Vec::new(),
            clients: clients(0.0),
            under_way: vec![0; count],
            of_minute: vec![(0, 0); count],
        }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Since the beginning.
    pub fn time(&self) -> Duration {
        self.now.monotonic - self.begin.monotonic
    }

    /// Lets clients call for so long; what they began may go on afterwards.
    pub fn run(&mut self, clients: Clients, time: Duration) {
        self.clients = clients;
        let end = self.time() + time;
        self.arrive_later();
        while let Some(Reverse((at, _, _))) = self.queue.peek()
            && *at < end
        {
            self.step();
        }
        // Whoever was to come next does not: the next clients come at their own pace.
        self.queue
            .retain(|Reverse((_, _, event))| *event != Event::Arrives);
        self.go_to(end);
    }

    /// Lets what is under way end; everything must be given back then.
    pub fn finish(mut self) -> Traffic {
        self.queue
            .retain(|Reverse((_, _, event))| *event != Event::Exchange);
        while !self.queue.is_empty() {
            self.step();
        }
        assert!(self.under_way.iter().all(|n| *n == 0));
        for state in &self.states {
            let left = state.export(self.now);
            let held = left.iter().filter(|totals| totals.counts.in_flight > 0);
            assert_eq!(held.count(), 0, "{left:?}");
        }
        self.traffic
    }

    /// The same configuration once more, as a reload brings it.
    pub fn reload(&mut self) {
        self.snapshot = Snapshot::build(self.specs.clone(), self.settings.clone());
        for state in &mut self.states {
            *state = state.continued(&self.snapshot);
        }
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, event))) = self.queue.pop() else {
            return;
        };
        self.go_to(at);
        match event {
            Event::Arrives => {
                self.arrive_later();
                let resolution = self.snapshot.resolve("g").unwrap();
                let gateway = match self.states.len() {
                    1 => 0,
                    several => self.rng.random_range(0..several),
                };
                self.calls.push(Call {
                    arrived: at,
                    gateway,
                    clients: self.clients,
                    walk: Walk::new(RequestControls::default(), &resolution),
                    resolution,
                    trying: None,
                });
                self.try_once(self.calls.len() - 1);
            }
            Event::Exchange => {
                if let Some(between) = &mut self.between {
                    for (gateway, state) in self.states.iter().enumerate() {
                        between.exchange(gateway, &self.snapshot, state, self.now);
                    }
                }
                self.schedule(EXCHANGE, Event::Exchange);
            }
            Event::Retries(call) => self.try_once(call),
            Event::Ends(call) => self.end_try(call),
        }
    }

    fn go_to(&mut self, at: Duration) {
        self.now = self.begin.later(at);
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        let at = self.time() + after;
        self.queue.push(Reverse((at, self.scheduled, event)));
    }

    /// Clients come independently of each other.
    fn arrive_later(&mut self) {
        let gap = -(1.0 - self.rng.random::<f64>()).ln() / self.clients.per_second;
        self.schedule(Duration::from_secs_f64(gap), Event::Arrives);
    }

    fn try_once(&mut self, number: usize) {
        let call = &mut self.calls[number];
        let state = &self.states[call.gateway];
        let uses = self.snapshot.uses(&call.resolution);
        let mut full = Vec::new();
        let begun = loop {
            let facts = Facts {
                now: self.now,
                failed: call.walk.failed(),
                full: &full,
                tokens: uses.tokens.then_some(call.clients.prompt_tokens),
                is_stream: call.clients.stream,
                ..Facts::default()
            };
            let selection = select(
                &self.snapshot,
                state,
                &call.resolution,
                &facts,
                &mut self.rng,
            );
            let Some((index, _)) = selection.picked else {
                let refusal = selection.refusal(&self.snapshot, state, &call.resolution, &facts);
                return self.after_failure(number, None, refusal.class, refusal.retry_after);
            };
            let Ok(begun) = state.begin(&self.snapshot, index, self.now) else {
                full.push(index);
                continue;
            };
            if let (Some(between), Some(limit)) =
                (&mut self.between, self.snapshot.rpm_enforced(index))
                && !between.count(&self.snapshot, index, limit, self.now)
            {
                state.take_back(&self.snapshot, begun);
                full.push(index);
                continue;
            }
            break begun;
        };
        let index = begun.index;
        self.under_way[index] += 1;
        let peak = &mut self.traffic.peaks[index];
        *peak = (*peak).max(self.under_way[index]);
        let minute = self.now.minute();
        let of_minute = &mut self.of_minute[index];
        *of_minute = match *of_minute {
            (known, n) if known == minute => (minute, n + 1),
            _ => (minute, 1),
        };
        let ask = Ask {
            at: self.time(),
            this_minute: self.of_minute[index].1,
            minute_left: Duration::from_secs(60 - self.now.unix_s % 60),
        };
        let answer = (self.backends[index])(ask, &mut self.rng);
        self.calls[number].trying = Some((begun, answer));
        self.schedule(answer.takes, Event::Ends(number));
    }

    fn end_try(&mut self, number: usize) {
        let (tried, answer) = self.calls[number].trying.take().unwrap();
        let (index, begun) = (tried.index, tried.begun);
        drop(tried);
        self.under_way[index] -= 1;
        self.traffic.tries.push(Tried {
            index,
            begun: begun.monotonic - self.begin.monotonic,
            ended: self.time(),
            begun_minute: begun.minute(),
            ended_minute: self.now.minute(),
            is_ok: answer.error.is_none(),
            tokens: if answer.error.is_none() {
                answer.tokens
            } else {
                0
            },
        });
        let Some((class, retry_after)) = answer.error else {
            let measured = Measured {
                duration: answer.takes,
                first_token: answer.first_token,
                completion_tokens: answer.tokens / 4,
                total_tokens: answer.tokens,
            };
            let state = &self.states[self.calls[number].gateway];
            state.succeeded(&self.snapshot, index, &measured, self.now);
            state.spent(index, &[], answer.cost, self.now);
            return self.end_call(number, Some(index));
        };
        let fault = Fault {
            class,
            status: class.status(),
            retry_after,
            message: "simulated",
            blame: Blame::Deployment,
        };
        let state = &self.states[self.calls[number].gateway];
        let rest = state.failed(&self.snapshot, index, &fault, self.now);
        if let Some(rest) = rest {
            let now = self.time();
            self.traffic.rests.push((index, now..now + rest));
        }
        self.after_failure(number, Some(index), class, retry_after);
    }

    fn after_failure(
        &mut self,
        number: usize,
        deployment: Option<usize>,
        class: ErrorClass,
        retry_after: Option<Duration>,
    ) {
        let call = &mut self.calls[number];
        let candidates = &call.resolution.candidates;
        let failure = Failure {
            deployment,
            class,
            status: class.status(),
            retry_after,
            healthy: Some(self.states[call.gateway].healthy(&self.snapshot, candidates, self.now)),
        };
        let mut decision = call
            .walk
            .after_failure(&self.snapshot, &failure, &mut self.rng);
        loop {
            match decision {
                Decision::Retry { after, .. } => {
                    return self.schedule(after, Event::Retries(number));
                }
                Decision::GiveUp { .. } => return self.end_call(number, None),
                Decision::Fallback { target, .. } => match self.snapshot.resolve(&target.model) {
                    Err(_) => decision = call.walk.after_unresolved(&self.snapshot),
                    Ok(resolution) => {
                        let of_order = |i: usize| {
                            let order = self.snapshot.deployment(i).spec.order;
                            target.order.is_none() || order == target.order
                        };
                        call.resolution = resolution.narrowed(of_order);
                        call.walk.enter(&call.resolution);
                        return self.schedule(Duration::ZERO, Event::Retries(number));
                    }
                },
            }
        }
    }

    fn end_call(&mut self, number: usize, served: Option<usize>) {
        let call = &self.calls[number];
        self.traffic.calls.push(Called {
            arrived: call.arrived,
            ended: self.time(),
            served,
            fallbacks: call.walk.fallbacks(),
        });
    }
}

/// Every strategy, in LiteLLM's order.
pub const STRATEGIES: [Strategy; 7] = [
    Strategy::SimpleShuffle,
    Strategy::LeastBusy,
    Strategy::UsageBased,
    Strategy::UsageBasedV2,
    Strategy::LatencyBased,
    Strategy::CostBased,
    Strategy::ProviderBudget,
];

/// The default settings with this strategy.
pub fn settings(strategy: Strategy) -> RoutingSettings {
    RoutingSettings {
        strategy,
        ..RoutingSettings::default()
    }
}
