//! The state machine: one request in, one reply out, a function of the state and of the clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::answer::{Answer, Body, Broken, Reply, not_found};
use super::call::{Call, Endpoint};
use super::catalog::{Catalog, lock};
use super::faults::{Action, Faults, Subject};
use super::listing::LISTS;
use super::rules::{RetryHint, Rules};
use super::saved::SavedPages;
use super::state::{Counts, State, after, before};
use super::world::{Dice, Millis, Stream, World, WorldSettings};
use super::{jobs, listing, query, token, tutorials};
use crate::api::transport::{Request, Response};
use crate::time::{Clock, Timestamp};

/// What a simulator is made of.
#[derive(Clone, Debug, Default)]
pub struct SimulatorSettings {
    /// The conversations.
    pub world: WorldSettings,
    /// The limits.
    pub rules: Rules,
    /// What goes wrong.
    pub faults: Faults,
    /// What the query serves in the place of the world's conversations; nothing else serves conversations then.
    pub saved: Option<SavedPages>,
}

/// The simulated API; clones share their state.
#[derive(Clone, Debug)]
pub struct Simulator(Arc<Service>);

/// Everything that endpoints need.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) catalog: Catalog,
    pub(crate) rules: Rules,
    pub(crate) saved: Option<SavedPages>,
    faults: Faults,
    clock: Clock,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) state: Mutex<State>,
}

impl Simulator {
    /// A simulator that has served nothing yet. `clock` says what time it is over there.
    pub fn new(settings: SimulatorSettings, clock: Clock) -> Simulator {
        let mut dice = Dice::new(settings.world.seed, Stream::Credentials, 0, 0);
        let state = State { script: vec![0; settings.faults.script.len()], ..Default::default() };
        Simulator(Arc::new(Service {
            client_id: dice.uuid().into_owned(),
            client_secret: dice.digits(40),
            catalog: Catalog::new(World::new(settings.world)),
            rules: settings.rules,
            saved: settings.saved,
            faults: settings.faults,
            clock,
            state: Mutex::new(state),
        }))
    }

    /// The world behind it: what an export is compared with.
    pub fn world(&self) -> &World {
        &self.0.catalog.world
    }

    /// The limits it keeps.
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// The client id that it accepts.
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// The secret that goes with it.
    pub fn client_secret(&self) -> &str {
        &self.0.client_secret
    }

    /// What time it is over there.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Before when jobs bring everything, as long as no fault says otherwise.
    pub fn availability(&self) -> Timestamp {
        self.0.availability(self.now(), Duration::ZERO)
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        lock(&self.0.state).counts.clone()
    }

    /// A client has connected.
    pub(crate) fn connected(&self) {
        lock(&self.0.state).counts.connections += 1;
    }

    /// Whether bodies are compressed for clients that take it. Saved pages are not: what is measured is the client.
    pub(crate) fn compresses(&self) -> bool {
        self.0.saved.is_none()
    }

    /// Serves one request.
    pub fn handle(&self, request: &Request) -> Reply {
        self.0.handle(request)
    }
}

impl Service {
    fn handle(&self, request: &Request) -> Reply {
        let now = self.clock.now();
        let ordinal = {
            let mut state = lock(&self.state);
            state.calls += 1;
            state.calls
        };
        let correlation = Dice::new(self.catalog.world.settings().seed, Stream::Calls, 0, ordinal).uuid();
        let read = if request.body().len() > self.rules.request_bytes_max {
            let limit = self.rules.request_bytes_max;
            Err(Answer::error(413, "request.entity.too.large", &format!("The request is larger than {limit} bytes.")))
        } else {
            Call::read(request)
        };
        let (mut answer, action) = match read {
            Err(refusal) => (refusal, None),
            Ok(call) => {
                let action = self.fault(&call, ordinal);
                if let Some(broken) = action.as_ref().and_then(Action::unserved) {
                    lock(&self.state).counts.broken += 1;
                    return Reply { response: Response::default(), latency: self.rules.latency, broken: Some(broken) };
                }
                let instead = action.as_ref().and_then(|action| action.instead(now));
                (instead.unwrap_or_else(|| self.serve(&call, request, action.as_ref(), now)), action)
            }
        };
        if let Some(action) = &action {
            action.falsify(&mut answer);
        }
        answer = answer.header("date", httpdate::fmt_http_date(now.into()));
        self.deliver(answer.render(&correlation), action)
    }

    /// Chooses the fault of a call, and makes what it changes in the state.
    fn fault(&self, call: &Call, ordinal: u64) -> Option<Action> {
        let page = match call.endpoint {
            Endpoint::Query => query::page_number(call),
            Endpoint::Cursor => tutorials::cursor_page_number(call),
            Endpoint::Page => tutorials::page_number(call),
            Endpoint::Results => Some(jobs::page_number(call)),
            endpoint if LISTS.iter().any(|(_, list)| *list == endpoint) => listing::page_number(call),
            _ => None,
        };
        let mut state = lock(&self.state);
        *state.counts.calls.entry(call.endpoint).or_default() += 1;
        let job = match &call.job {
            Some(id) => state.job(id).map(|(job, _)| job),
            None if call.endpoint == Endpoint::Submit => Some(state.jobs.len() as u64 + 1),
            None => None,
        };
        let subject = Subject { endpoint: call.endpoint, page, job, ordinal };
        let action = self.faults.pick(&mut state.script, subject)?;
        match (&action, call.job.as_deref().and_then(|id| state.job(id))) {
            (Action::RevokeTokens, _) => state.tokens.clear(),
            (Action::Job { fate }, Some((_, job))) => job.fate = Some(*fate),
            _ => {}
        }
        Some(action)
    }

    fn serve(&self, call: &Call, request: &Request, action: Option<&Action>, now: Timestamp) -> Answer {
        if call.endpoint == Endpoint::Token {
            return token::issue(self, request, now);
        }
        let limits = match self.admit(request, now) {
            Ok(limits) => limits,
            Err(refusal) => return refusal,
        };
        let earlier = match action {
            Some(Action::Availability { earlier_s }) => Duration::from_secs(*earlier_s),
            _ => Duration::ZERO,
        };
        let fate = match action {
            Some(Action::Job { fate }) => Some(*fate),
            _ => None,
        };
        let available = self.availability(now, earlier);
        let answer = match call.endpoint {
            Endpoint::Token | Endpoint::Organization => {
                let world = &self.catalog.world;
                Ok(Answer::json(200, json!({"id": world.organization_id(), "name": world.organization_name()})))
            }
            Endpoint::Query => query::query(self, call, now),
            Endpoint::Cursor | Endpoint::Page | Endpoint::Submit if self.saved.is_some() => {
                Err(not_found("saved pages are served by query alone"))
            }
            Endpoint::Cursor => tutorials::cursor(self, call, now),
            Endpoint::Page => tutorials::page(self, call, now),
            Endpoint::Submit => jobs::submit(self, call, fate, now, available),
            Endpoint::Availability => Ok(Answer::json(200, json!({"dataAvailabilityDate": jobs::seconds(available)}))),
            Endpoint::Job => jobs::status(self, call, now),
            Endpoint::Results => jobs::results(self, call, now, earlier),
            Endpoint::Delete => jobs::delete(self, call),
            Endpoint::Queues
            | Endpoint::Users
            | Endpoint::WrapUpCodes
            | Endpoint::Skills
            | Endpoint::Divisions
            | Endpoint::Flows
            | Endpoint::Teams => listing::list(self, call, now),
        };
        let mut answer = answer.unwrap_or_else(|refusal| refusal);
        answer.headers.extend(limits);
        answer
    }

    /// The headers of the rate limit, or why the call is not served.
    fn admit(&self, request: &Request, now: Timestamp) -> Result<Vec<(String, String)>, Answer> {
        let header = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(bearer) = header.and_then(|value| value.strip_prefix("Bearer ")) else {
            let message = "No authentication bearer token specified in authorization header.";
            return Err(Answer::error(401, "authentication.required", message));
        };
        let mut state = lock(&self.state);
        state.tokens.retain(|token| now < token.expires);
        let Some(token) = state.tokens.iter_mut().find(|token| token.value == bearer) else {
            return Err(Answer::error(401, "bad.credentials", "Invalid login credentials."));
        };
        let Some(allowed) = self.rules.rate_limit else { return Ok(Vec::new()) };
        let (count, reset) = token.count(now);
        let mut headers: Vec<_> = [("allowed", u64::from(allowed)), ("count", count.into()), ("reset", reset)]
            .map(|(name, value)| (format!("inin-ratelimit-{name}"), value.to_string()))
            .into();
        if self.rules.retry_hint == RetryHint::Silent {
            headers.clear();
        }
        if count <= allowed {
            return Ok(headers);
        }
        let mut answer = Answer::too_many(reset);
        answer.headers.extend(headers);
        Err(match self.rules.retry_hint {
            RetryHint::Seconds => answer.header("retry-after", reset),
            RetryHint::Date => {
                let then = after(now, Duration::from_secs(reset));
                answer.header("retry-after", httpdate::fmt_http_date(then.into()))
            }
            RetryHint::Absent | RetryHint::Silent => answer,
        })
    }

    /// Before when jobs bring everything; whole seconds, as the API says it.
    fn availability(&self, now: Timestamp, earlier: Duration) -> Timestamp {
        let at = Millis::of(before(before(now, self.rules.availability_lag), earlier));
        Millis(at.0 - at.0.rem_euclid(1_000)).timestamp()
    }

    fn deliver(&self, response: Response, action: Option<Action>) -> Reply {
        let mut reply = Reply { response, latency: self.rules.latency, broken: None };
        match action {
            Some(Action::Slow { ms }) => reply.latency = reply.latency.saturating_add(Duration::from_millis(ms)),
            Some(Action::ResetInBody) => reply.broken = Some(Broken::InBody),
            Some(Action::Truncate) => {
                let half = reply.response.body().len() / 2;
                let body = reply.response.body_mut();
                *body = body.slice(..half);
            }
            _ => {}
        }
        let mut state = lock(&self.state);
        match reply.broken {
            Some(_) => state.counts.broken += 1,
            None => *state.counts.statuses.entry(reply.response.status().as_u16()).or_default() += 1,
        }
        reply
    }
}

/// An empty answer.
pub(crate) fn no_content() -> Answer {
    Answer { status: 204, headers: Vec::new(), body: Body::Empty }
}

/// Reads an optional positive integer of a JSON body.
pub(crate) fn positive(value: Option<&serde_json::Value>, name: &str, default: u64) -> Result<u64, Answer> {
    match value {
        None => Ok(default),
        Some(value) => match value.as_u64() {
            Some(number) if number > 0 => Ok(number),
            _ => Err(Answer::invalid(name, &format!("{name} must be a positive integer"))),
        },
    }
}
