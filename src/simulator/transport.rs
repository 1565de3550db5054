//! In process: the simulator as a [`Transport`], in tokio's time, so that paused tests take none.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::answer::Broken;
use super::service::Simulator;
use crate::api::transport::{Excerpt, Fault, Request, Response, SILENCE_MAX, Transport, TransportError};

impl Simulator {
    /// The simulator as the network.
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }
}

impl Transport for Simulator {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        async move {
            let reply = self.handle(&request);
            let late = reply.broken == Some(Broken::Hang) || reply.latency > SILENCE_MAX;
            tokio::time::sleep(if late { SILENCE_MAX } else { reply.latency }).await;
            let fault = |fault, message: &str| {
                Err(TransportError { fault, excerpt: Excerpt::default(), message: message.to_owned() })
            };
            if late {
                return fault(Fault::Timeout, "no answer in time");
            }
            match reply.broken {
                None if reply.response.headers().contains_key(http::header::CONTENT_ENCODING) => {
                    fault(Fault::Body, "the body is not what its encoding says")
                }
                Some(Broken::InBody) => fault(Fault::Body, "connection reset in the body"),
                Some(_) => fault(Fault::Connect, "connection reset before the answer"),
                None => Ok(reply.response),
            }
        }
        .boxed()
    }
}
