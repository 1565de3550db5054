//! Waits as long as a store asks to be left alone. The client below repeats refused requests, but after pauses of its
//! own choosing.

use std::time::Duration;

use async_trait::async_trait;
use http::{StatusCode, header};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

/// The longest pause that a store can ask for in one answer; it may ask again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Connects with patience.
#[derive(Debug, Default)]
pub(super) struct Patient(ReqwestConnector);

#[derive(Debug)]
struct PatientClient(HttpClient);

impl HttpConnector for Patient {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(PatientClient(self.0.connect(options)?)))
    }
}

#[async_trait]
impl HttpService for PatientClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.execute(request).await?;
        if let Some(pause) = pause(&response) {
            tracing::info!(seconds = pause.as_secs(), status = %response.status(), "the store asks for a pause");
            tokio::time::sleep(pause).await;
        }
        Ok(response)
    }
}

/// The pause that an answer asks for, in seconds; dates are not used by stores.
fn pause<T>(response: &http::Response<T>) -> Option<Duration> {
    let asks = matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = response.headers().get(header::RETRY_AFTER).filter(|_| asks)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_what_the_store_asks_for_within_bounds() {
        let answer = |status: u16, after: &str| {
            let response =
                http::Response::builder().status(status).header(header::RETRY_AFTER, after).body(()).unwrap();
            pause(&response).map(|pause| pause.as_secs())
        };
        assert_eq!(answer(503, "7"), Some(7));
        assert_eq!(answer(429, " 1 "), Some(1));
        assert_eq!(answer(503, "86400"), Some(60));
        assert_eq!(answer(200, "7"), None);
        assert_eq!(answer(503, "Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
