//! `POST /oauth/token`: client credentials, in the header or in the form.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::answer::Answer;
use super::catalog::lock;
use super::service::Service;
use super::state::Token;
use super::world::{Dice, Stream};
use crate::api::AuthStyle;
use crate::api::transport::Request;
use crate::time::Timestamp;

/// Issues a token, or refuses in OAuth's words rather than the API's.
pub(crate) fn issue(service: &Service, request: &Request, now: Timestamp) -> Answer {
    let form: HashMap<String, String> = url::form_urlencoded::parse(request.body()).into_owned().collect();
    let field = |name: &str| form.get(name).cloned();
    if field("grant_type").as_deref() != Some("client_credentials") {
        return refuse("unsupported_grant_type", "the grant type is not supported");
    }
    let in_form = || Some((field("client_id")?, field("client_secret")?));
    let given = match service.rules.login {
        AuthStyle::Basic => basic(request),
        AuthStyle::Body => in_form(),
        AuthStyle::Either => basic(request).or_else(in_form),
    };
    if given.as_ref().map(|(id, secret)| (id, secret)) != Some((&service.client_id, &service.client_secret)) {
        return refuse("invalid_client", "client not found or invalid client secret");
    }
    let mut state = lock(&service.state);
    state.tokens_issued += 1;
    let seed = service.catalog.world.settings().seed;
    let mut dice = Dice::new(seed, Stream::Tokens, 0, state.tokens_issued);
    let value = format!("{}{}", dice.uuid(), dice.uuid()).replace('-', "");
    state.tokens.push_back(Token::new(value.clone(), now, &service.rules));
    if state.tokens.len() > service.rules.tokens_max {
        state.tokens.pop_front();
    }
    let lifetime = service.rules.token_lifetime.as_secs();
    Answer::json(200, json!({"access_token": value, "token_type": "bearer", "expires_in": lifetime}))
}

fn basic(request: &Request) -> Option<(String, String)> {
    let header = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn refuse(error: &str, description: &str) -> Answer {
    Answer::json(400, json!({"error": error, "description": description, "error_description": description}))
}
