use serde_json::{Value, json};

use super::*;
use crate::api::testing::{Asked, Reply, Scripted, api, settings};
use crate::error::Kind;

fn dimension(name: &str) -> &'static Dimension {
    DIMENSIONS.iter().find(|dimension| dimension.name == name).unwrap()
}

async fn listed(name: &str, script: impl FnMut(&Asked) -> Reply + Send + 'static) -> (Result<Listing>, Vec<String>) {
    let scripted = Scripted::new(script);
    let listing = api(&scripted, settings()).list(dimension(name)).await;
    (listing, scripted.asked().into_iter().map(|asked| asked.path).collect())
}

fn ids(listing: &Listing) -> Vec<String> {
    let records = listing.pages.iter().flat_map(Page::records);
    records.map(|raw| serde_json::from_slice::<Value>(&raw).unwrap()["id"].as_str().unwrap().to_owned()).collect()
}

fn entities(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({"id": id})).collect()
}

/// A parameter of the URL.
fn parameter(path: &str, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(path.split_once('?')?.1.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(asked: &Asked) -> u64 {
    parameter(&asked.path, "pageNumber").unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn numbered_pages_go_on_while_the_answer_says_so() {
    let (listing, asked) = listed("queues", |asked| {
        Reply::json(match number(asked) {
            1 => json!({"entities": entities(&["a", "b"]), "pageCount": 1, "nextUri": "/somewhere/else"}),
            2 => json!({"entities": entities(&["c"]), "pageCount": 3}),
            _ => json!({"entities": entities(&["d"]), "pageCount": 3}),
        })
    })
    .await;
    let listing = listing.unwrap();
    assert_eq!(ids(&listing), ["a", "b", "c", "d"]);
    assert!(!listing.cut);
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[1], "/api/v2/routing/queues?pageSize=500&pageNumber=2");
}

#[tokio::test(start_paused = true)]
async fn without_a_word_about_more_an_empty_page_is_the_end() {
    let (listing, asked) = listed("skills", |asked| {
        Reply::json(if number(asked) == 1 { json!({"entities": entities(&["a"])}) } else { json!({"entities": []}) })
    })
    .await;
    assert_eq!((ids(&listing.unwrap()), asked.len()), (vec!["a".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn every_state_of_users_and_deleted_flows_are_asked_for() {
    let last = |asked: &Asked| {
        Reply::json(
            json!({"entities": entities(&[&parameter(&asked.path, "state").unwrap_or_default()]), "pageCount": 1}),
        )
    };
    let (users, _) = listed("users", last).await;
    let users = users.unwrap();
    assert_eq!(ids(&users), ["active", "inactive", "deleted"]);
    assert_eq!(users.pages.iter().map(|page| (page.chain, page.number)).collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
    let (_, flows) = listed("flows", last).await;
    assert_eq!(flows, ["/api/v2/flows?pageSize=500&pageNumber=1&deleted=true"]);
}

#[tokio::test(start_paused = true)]
async fn linked_pages_follow_the_cursor_of_the_next_address() {
    let (listing, asked) = listed("teams", |asked| {
        Reply::json(match parameter(&asked.path, "after").as_deref() {
            None => json!({"entities": entities(&["a"]), "nextUri": "/api/v2/teams?pageSize=100&after=x%2By%3D"}),
            Some("x+y=") => json!({"entities": entities(&["b"]), "nextUri": "/api/v2/teams?before=z"}),
            other => panic!("{other:?}"),
        })
    })
    .await;
    assert_eq!(ids(&listing.unwrap()), ["a", "b"]);
    assert_eq!(asked[1], "/api/v2/teams?pageSize=100&after=x%2By%3D&expand=entities.division");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_turns_in_a_circle_ends_with_an_error_that_names_the_page() {
    let linked = json!({"entities": entities(&["a"]), "nextUri": "/api/v2/teams?after=1"});
    let numbered = json!({"entities": entities(&["a"]), "pageCount": 9});
    for (name, answer) in [("teams", linked), ("queues", numbered)] {
        let (listing, asked) = listed(name, move |_| Reply::json(answer.clone())).await;
        let error = listing.unwrap_err();
        assert_eq!((error.kind(), asked.len()), (Kind::Data, 2), "{error}");
        assert!(error.to_string().starts_with(&format!("{name}: page 2: ")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_named() {
    let forbidden = |_: &Asked| Reply::status(403, json!({"code": "missing.any.permissions", "message": "no"}));
    for (name, hint) in [("teams", "groups > team > view"), ("divisions", "every client")] {
        let (listing, asked) = listed(name, forbidden).await;
        let error = listing.unwrap_err();
        assert_eq!((error.kind(), asked.len()), (Kind::Access, 1));
        assert!(error.hint_text().unwrap().contains(hint), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_too_large_are_halved_from_the_start() {
    let (listing, asked) = listed("queues", |asked| {
        let too_large = json!({"code": "bad.request", "message": "pageSize may not be larger than 200"});
        match (parameter(&asked.path, "pageSize").unwrap().parse::<u32>().unwrap(), number(asked)) {
            (..=200, 1) => Reply::json(json!({"entities": entities(&["a"]), "pageCount": 2})),
            (..=200, _) => Reply::json(json!({"entities": entities(&["b"]), "pageCount": 2})),
            (_, 1) => Reply::json(json!({"entities": entities(&["a", "b"]), "pageCount": 2})),
            _ => Reply::status(400, too_large),
        }
    })
    .await;
    assert_eq!(ids(&listing.unwrap()), ["a", "b"]);
    assert_eq!(asked.len(), 6, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_lies_out_of_reach_is_cut_off_and_said() {
    let (listing, _) = listed("users", |asked| {
        let state = parameter(&asked.path, "state").unwrap();
        match number(asked) {
            page @ ..=20 => {
                let id = format!("{state}-{page}");
                Reply::json(
                    json!({"entities": entities(&[&id]), "pageCount": if state == "inactive" { 30 } else { 1 }}),
                )
            }
            _ => Reply::status(400, json!({"code": "bad.request", "message": "no further"})),
        }
    })
    .await;
    let listing = listing.unwrap();
    assert!(listing.cut);
    assert_eq!(ids(&listing).len(), 1 + 20 + 1, "the other states are whole");

    let early = |_: &Asked| Reply::status(400, json!({"code": "bad.request", "message": "no further"}));
    assert_eq!(listed("users", early).await.0.unwrap_err().kind(), Kind::Data);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_would_empty_the_dimension_is_doubted() {
    for doubtful in [json!({}), json!({"entities": [], "total": 1}), json!({"total": 0})] {
        let mut calls = 0;
        let odd = doubtful.clone();
        let (listing, asked) = listed("queues", move |_| {
            calls += 1;
            Reply::json(if calls == 1 { odd.clone() } else { json!({"entities": entities(&["a"]), "pageCount": 1}) })
        })
        .await;
        assert_eq!((ids(&listing.unwrap()), asked.len()), (vec!["a".to_owned()], 2));
        let (listing, _) = listed("queues", move |_| Reply::json(doubtful.clone())).await;
        assert_eq!(listing.unwrap_err().kind(), Kind::Data);
    }
    let (listing, _) = listed("teams", |_| Reply::json(json!({"entities": []}))).await;
    assert!(listing.unwrap().pages.is_empty());
}
