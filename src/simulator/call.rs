//! A request understood: which endpoint it means, and its parts.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Answer, not_found};
use super::listing::LISTS;
use crate::api::transport::Request;

/// The endpoints of the simulated API. One path speaks three dialects, which count as three endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `POST /oauth/token`.
    Token,
    /// `POST …/details/query` with `interval`: the real query.
    Query,
    /// `POST …/details/query` with `startTime`: the first tutorial.
    Cursor,
    /// `POST …/details/query` with `dateFrom`: the second tutorial.
    Page,
    /// `POST …/details/jobs`.
    Submit,
    /// `GET …/details/jobs/availability`.
    Availability,
    /// `GET …/details/jobs/{id}`.
    Job,
    /// `GET …/details/jobs/{id}/results`.
    Results,
    /// `DELETE …/details/jobs/{id}`.
    Delete,
    /// `GET /api/v2/organizations/me`.
    Organization,
    /// `GET /api/v2/routing/queues`.
    Queues,
    /// `GET /api/v2/users`.
    Users,
    /// `GET /api/v2/routing/wrapupcodes`.
    WrapUpCodes,
    /// `GET /api/v2/routing/skills`.
    Skills,
    /// `GET /api/v2/authorization/divisions`.
    Divisions,
    /// `GET /api/v2/flows`.
    Flows,
    /// `GET /api/v2/teams`.
    Teams,
}

const DETAILS: &str = "/api/v2/analytics/conversations/details/";

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) endpoint: Endpoint,
    /// The job that the path names.
    pub(crate) job: Option<String>,
    /// The parameters of the URL.
    pub(crate) parameters: HashMap<String, String>,
    /// The JSON body; null when there is none.
    pub(crate) body: Value,
}

impl Call {
    /// Understands `request`, or says what the API says.
    pub(crate) fn read(request: &Request) -> Result<Call, Answer> {
        let path = request.uri().path();
        let method = request.method().as_str();
        let query = request.uri().query().unwrap_or_default();
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (endpoint, job) = match (method, path, path.strip_prefix(DETAILS)) {
            ("POST", "/oauth/token", _) => (Some(Endpoint::Token), None),
            ("GET", "/api/v2/organizations/me", _) => (Some(Endpoint::Organization), None),
            ("POST", _, Some("query")) => (None, None),
            ("POST", _, Some("jobs")) => (Some(Endpoint::Submit), None),
            ("GET", _, Some("jobs/availability")) => (Some(Endpoint::Availability), None),
            (_, _, Some(rest)) => {
                let (endpoint, job) = of_job(method, rest).ok_or_else(|| not_found(path))?;
                (Some(endpoint), Some(job.to_owned()))
            }
            ("GET", _, None) => match LISTS.iter().find(|(list, _)| *list == path) {
                Some((_, endpoint)) => (Some(*endpoint), None),
                None => return Err(not_found(path)),
            },
            _ => return Err(not_found(path)),
        };
        let body = match endpoint {
            Some(Endpoint::Token) => Value::Null,
            _ if request.body().is_empty() => Value::Null,
            _ => serde_json::from_slice(request.body())
                .map_err(|_| Answer::error(400, "bad.request", "The request could not be understood by the server."))?,
        };
        let dialect = || match () {
            () if body.get("startTime").is_some() => Endpoint::Cursor,
            () if body.get("dateFrom").is_some() => Endpoint::Page,
            () => Endpoint::Query,
        };
        Ok(Call { endpoint: endpoint.unwrap_or_else(dialect), job, parameters, body })
    }

    /// A parameter of the URL as a number.
    pub(crate) fn number(&self, name: &str) -> Option<Result<u64, Answer>> {
        let text = self.parameters.get(name)?;
        Some(text.parse().map_err(|_| Answer::invalid(name, &format!("{name} must be a positive integer"))))
    }
}

fn of_job<'a>(method: &str, rest: &'a str) -> Option<(Endpoint, &'a str)> {
    let mut parts = rest.strip_prefix("jobs/")?.split('/');
    let id = parts.next().filter(|id| !id.is_empty())?;
    let endpoint = match (method, parts.next(), parts.next()) {
        ("GET", None, _) => Endpoint::Job,
        ("DELETE", None, _) => Endpoint::Delete,
        ("GET", Some("results"), None) => Endpoint::Results,
        _ => return None,
    };
    Some((endpoint, id))
}
