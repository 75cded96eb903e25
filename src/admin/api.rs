//! The routes of the admin interface, the same on the socket and at the address: JSON to read, and changes.

use std::sync::Arc;

use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::Value;

use super::control::{Control, InForce, ReloadOutcome};
use super::error::{Answer, ApiError};
use super::explain::Question;
use super::headers::secured;
use super::http::{Page, page};
use super::overview::{self, Views};
use super::page::status_page;
use super::{
    backends, bans, certificates, configuration, drain, expected, failures, limits, ports,
    sessions, throughput, transfers,
};
use crate::op::escape::printable;
use crate::task;

/// What can be read, besides the page at `/`.
const READ: [&str; 15] = [
    "/backends",
    "/bans",
    "/certificates",
    "/configuration",
    "/drain",
    "/expected",
    "/explain",
    "/failures",
    "/limits",
    "/overview",
    "/ports",
    "/sessions",
    "/status",
    "/throughput",
    "/transfers",
];
/// What can be changed.
const CHANGE: [&str; 7] = [
    "/backends/drain",
    "/backends/undrain",
    "/bans/lift",
    "/drain",
    "/reload",
    "/restart",
    "/sessions/kick",
];

/// Answers requests about a gateway.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) control: Arc<dyn Control>,
}

impl Api {
    /// The response to a request of somebody who may make it.
    pub(super) async fn respond(&self, method: &Method, uri: &Uri) -> Page {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let (read, change) = (path == "/" || READ.contains(&path), CHANGE.contains(&path));
        match *method {
            _ if !read && !change => json_page(Err(unknown(path))),
            Method::GET | Method::HEAD if path == "/" => status_page(),
            Method::GET | Method::HEAD if read => json_page(self.read(path, query).await),
            Method::POST if change => json_page(self.change(path, query).await),
            _ => not_allowed(read, change),
        }
    }

    async fn read(&self, path: &str, query: &str) -> Answer {
        let (in_force, lasting) = (self.control.in_force(), self.control.lasting());
        let InForce { pools, servers, explainer, .. } = &*in_force;
        match path {
            "/backends" => Ok(backends::json(&servers.view())),
            "/bans" => Ok(bans::json(&explainer.gateway.guard.bans())),
            "/certificates" => Ok(certificates::json(&in_force.certificate_ends, Timestamp::now())),
            "/configuration" => Ok(configuration::json(&in_force, &lasting)),
            "/drain" => Ok(drain::json(&lasting.drain)),
            "/expected" => Ok(expected::json(&lasting.expected.views(Timestamp::now()))),
            "/explain" => {
                let answer = Question::from_query(query).and_then(|it| explainer.answer(&it));
                answer.map_err(ApiError::bad_request)
            }
            "/failures" => Ok(failures::json(&lasting.live.recent_failures())),
            "/limits" => Ok(limits::json(&explainer.gateway.policy_limits.uses())),
            "/overview" => Ok(overview::json(&self.control).await),
            "/ports" => Ok(ports::json(&pools.iter().map(|pool| pool.view()).collect::<Vec<_>>())),
            "/sessions" => sessions::json(&self.control, query).await,
            "/status" => Ok(Views::now(&*self.control).status()),
            "/throughput" => Ok(throughput::json(&lasting.live.throughput())),
            "/transfers" => Ok(transfers::json(&self.control).await),
            _ => Err(unknown(path)),
        }
    }

    async fn change(&self, path: &str, query: &str) -> Answer {
        let InForce { servers, explainer, .. } = &*self.control.in_force();
        match path {
            "/backends/drain" => backends::set_drained(servers, query, true),
            "/backends/undrain" => backends::set_drained(servers, query, false),
            "/bans/lift" => bans::lift(&explainer.gateway.guard, query),
            "/drain" => {
                let drain = self.control.lasting().drain;
                drain.announce();
                Ok(drain::json(&drain))
            }
            "/reload" => {
                let control = self.control.clone();
                let outcome = task::spawn_blocking(move || control.reload()).await;
                let stopping = || ReloadOutcome::Failed("the gateway is stopping".into());
                outcome.unwrap_or_else(|_| stopping()).answer()
            }
            "/restart" => self.control.clone().restart().await.answer(),
            "/sessions/kick" => sessions::kick(&self.control, query).await,
            _ => Err(unknown(path)),
        }
    }
}

fn unknown(path: &str) -> ApiError {
    let path = printable(path.as_bytes());
    let (read, change) = (READ.join(", "), CHANGE.join(", "));
    ApiError::not_found(format!(
        "there is no {path}; available are {read}, and to change something (POST) {change}"
    ))
}

fn not_allowed(read: bool, change: bool) -> Page {
    let (allowed, message) = match (read, change) {
        (true, true) => ("GET, HEAD, POST", "use GET to read, and POST to change something"),
        (true, false) => ("GET, HEAD", "this is only read; use GET"),
        (false, _) => ("POST", "this changes something; use POST"),
    };
    let mut response = json_page(Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Without a value: 204.
pub(super) fn json_page(answer: Answer) -> Page {
    let (status, answer) = match answer {
        Ok(Value::Null) => (StatusCode::NO_CONTENT, None),
        Ok(answer) => (StatusCode::OK, Some(answer)),
        Err(error) => (error.status, Some(error.json())),
    };
    let content = answer.map(|answer| answer.to_string().into_bytes()).unwrap_or_default();
    let mut response = secured(page(content, "application/json"));
    *response.status_mut() = status;
    response
}
