//! Filters: what cannot be right is refused before any call for conversations, names become ids, and a filter that lets
//! nothing through is named.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::convlake::Convlake;
use common::org::Org;
use common::simulate::{BASE_URL, Simulate};
use common::{duckdb, read, table};
use convlake::api::transport::{Request, Response, Transport, TransportError};
use convlake::api::{Api, ApiSettings, Credentials, Endpoint, Filters};
use convlake::error::{Error, Kind};
use convlake::export::resolve_names;
use convlake::lake::Lake;
use convlake::simulator::SimulatorSettings;
use convlake::time::{Clock, parse_timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

const RANGE: [&str; 4] = ["--from", "2025-03-01", "--to", "2025-03-03"];
const QUEUE: &str = "0b3a4b5c-0000-4000-8000-000000000001";

/// The commands that have filters and need no source to refuse one. Nobody listens at the source that they are given.
fn refused(flags: &[&str]) -> Vec<String> {
    let convlake = Convlake::new().with([(BASE_URL, "http://127.0.0.1:9".to_owned())].into());
    let commands = [
        [&["plan"][..], &RANGE].concat(),
        [&["plan", "--probe"][..], &RANGE].concat(),
        [&["export", "--out", "lake"][..], &RANGE].concat(),
        vec!["sync", "--out", "lake"],
        vec!["sync", "--dry-run", "--out", "lake"],
    ];
    let run = |command: &Vec<&str>| {
        let run = convlake.run([&command[..], flags].concat());
        assert_eq!(run.code, Some(2), "{command:?} {flags:?}: {}", run.stderr);
        assert!(!convlake.lake().exists(), "{command:?}");
        run.stderr
    };
    commands.iter().map(run).collect()
}

#[test]
fn a_word_that_the_api_does_not_know_is_refused_with_the_one_that_was_meant() {
    for (flags, said) in [
        (&["--media-type", "voise"][..], "did you mean `voice`?"),
        (&["--media-type", "voice,emial"], "did you mean `email`?"),
        (&["--direction", "inbond"], "did you mean `inbound`?"),
        (&["--direction", "both"], "one of inbound, outbound"),
        (&["--protocol", "cursor", "--metrics", "handelDuration"], "did you mean `handleDuration`?"),
        (&["--protocol", "page", "--group-by", "queueID,userIdd"], "did you mean `userId`?"),
        (&["--protocol", "cursor", "--granularity", "daily"], "one of hour, day"),
    ] {
        for stderr in refused(flags) {
            assert!(stderr.contains(said) && stderr.contains(flags[flags.len() - 2]), "{flags:?}: {stderr}");
        }
    }
}

#[test]
fn a_value_that_is_empty_is_refused() {
    for flag in ["--queue", "--user", "--skill", "--division", "--media-type", "--direction"] {
        for value in ["", " ", "a,,b"] {
            for stderr in refused(&[flag, value]) {
                assert!(stderr.contains(&format!("{flag} has an empty value")), "{stderr}");
            }
        }
    }
    refused(&["--protocol", "cursor", "--metrics", "talkDuration,"]);
    refused(&["--protocol", "page", "--group-by", ""]);
    // A variable that a script forgot to fill is no request for everything.
    let convlake = Convlake::new().with([("CONVLAKE_QUEUE", String::new())].into());
    assert_eq!(convlake.run([&["plan"][..], &RANGE].concat()).code, Some(2));
}

#[test]
fn words_are_taken_in_any_case_and_unknown_ones_when_that_is_meant() {
    let convlake = Convlake::new();
    let plan = |flags: &[&str]| convlake.run([&["plan"][..], &RANGE, flags].concat());
    let run = plan(&["--media-type", "Voice,INTERNALMESSAGE", "--direction", "Inbound"]);
    assert!(run.stdout.contains("media type internalmessage or voice and direction inbound"), "{}", run.stdout);
    let run = plan(&["--media-type", "hologram", "--queue", "q-7", "--allow-unknown"]);
    assert!(run.stdout.contains("queue q-7 and media type hologram"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn at_a_region_only_ids_and_names_are_taken() {
    let convlake = Convlake::new();
    let plan = |queue: &str| convlake.run([&["plan", "--queue", queue][..], &RANGE].concat());
    let run = plan(&QUEUE.to_uppercase());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains(QUEUE), "an id is spelled as Genesys Cloud spells it: {}", run.stdout);
    // Without credentials no name can be looked up.
    let run = plan("Support");
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    for said in ["--queue `Support` is no id", "give the id", "GENESYSCLOUD_OAUTHCLIENT_ID"] {
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    let convlake = convlake.with([(BASE_URL, "http://127.0.0.1:9".to_owned())].into());
    convlake.succeed([&["plan", "--queue", "Support"][..], &RANGE].concat());
}

#[test]
fn a_filter_that_lets_nothing_through_is_named() {
    let simulate = Simulate::start(5);
    let convlake = Convlake::of(&simulate);
    let flags = ["--queue", QUEUE, "--media-type", "voice", "--out", "lake", "--report", "report.json"];
    let said = format!("nothing at all was found with --queue {QUEUE} --media-type voice");
    for command in [[&["export"][..], &RANGE].concat(), vec!["sync", "--from", "-2d"]] {
        let run = convlake.succeed([&command[..], &flags].concat());
        assert!(run.stderr.contains(&format!("warning: {said}")), "{}", run.stderr);
        let report: Value = serde_json::from_str(&read(&convlake.path("report.json"))).unwrap();
        assert!(report["notes"].to_string().contains(&said), "{}", report["notes"]);
    }
    // A sync that has nothing to do has not looked.
    let run = convlake.succeed([&["sync"][..], &flags].concat());
    assert!(!run.stderr.contains("nothing at all"), "{}", run.stderr);
    let run =
        Convlake::of(&simulate).succeed([&["export", "--out", "lake", "--media-type", "voice"][..], &RANGE].concat());
    assert!(!run.stderr.contains("nothing at all"), "{}", run.stderr);
}

#[test]
fn the_user_of_the_environment_belongs_to_its_family() {
    let file = |convlake: &Convlake, family: &str| {
        let user = "GENESYS_CLOUD_USER_ID=0b3a4b5c-0000-4000-8000-00000000000a";
        let path = convlake.path(family);
        common::write(&path, &format!("{family}_ID=i\n{family}_SECRET=secret\n{user}\n"));
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let convlake = Convlake::new();
    for (family, counts) in
        [("GENESYS_CLOUD_CLIENT", true), ("GENESYS_CLIENT", false), ("GENESYSCLOUD_OAUTHCLIENT", false)]
    {
        file(&convlake, family);
        let run = convlake.succeed([&["plan", "--credentials-file", family][..], &RANGE].concat());
        assert_eq!(run.stdout.contains("only user 0b3a4b5c"), counts, "{family}: {}", run.stdout);
        assert_eq!(
            run.stderr.contains("GENESYS_CLOUD_USER_ID is set and not used"),
            !counts,
            "{family}: {}",
            run.stderr
        );
    }
    // The environment's user is not that of the file's client.
    let other = Convlake::new().with([("GENESYS_CLOUD_USER_ID", QUEUE.to_owned())].into());
    file(&other, "GENESYS_CLIENT");
    let run = other.succeed([&["plan", "--credentials-file", "GENESYS_CLIENT"][..], &RANGE].concat());
    assert!(run.stdout.contains("the whole organi") && run.stderr.contains("is set and not used"), "{run:?}");
}

/// A source that only has lists, by the ends of their paths; those that it does not have are forbidden.
struct Lists(BTreeMap<&'static str, Value>);

impl Transport for Lists {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let path = request.uri().path().to_owned();
        // Users are listed by state; all of these are active.
        let others = request.uri().query().is_some_and(|query| query.contains("state=") && !query.contains("=active"));
        let (status, body) = match self.0.iter().find(|(list, _)| path.ends_with(**list)) {
            _ if path == "/oauth/token" => (200, json!({"access_token": "a-token-of-a-source", "expires_in": 3600})),
            Some(_) if others => (200, json!({"entities": [], "pageCount": 0})),
            Some((_, entities)) => (200, json!({"entities": entities, "pageCount": 1})),
            None => (403, json!({"code": "missing.permissions", "message": "no"})),
        };
        let mut response = Response::new(body.to_string().into());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        async move { Ok(response) }.boxed()
    }
}

fn directory() -> Lists {
    let named = |id: &str, name: &str| json!({"id": id, "name": name});
    let queues = json!([named("q1", "Support"), named("q2", "support"), named("q3", "Sales EMEA")]);
    let users = json!([named("u1", "Ada Quill"), named("u2", "Ada Quill"), named("u3", "Bo Reed")]);
    Lists([("/queues", queues), ("/users", users), ("/divisions", json!([named("d1", "Home")]))].into())
}

fn api(transport: impl Transport) -> Api {
    let endpoint =
        Endpoint::region("us-east-1").unwrap().with_login_url("http://localhost/oauth/token", false).unwrap();
    let credentials = Credentials::new("client", "secret-of-the-client").unwrap();
    let clock = Clock::starting_at(parse_timestamp("2025-06-01T00:00:00Z").unwrap());
    Api::new(ApiSettings::new(endpoint, credentials), Arc::new(transport), clock)
}

fn queues(names: &[&str]) -> Filters {
    Filters { queues: names.iter().map(|name| (*name).to_owned()).collect(), ..Filters::default() }
}

fn users(name: &str) -> Filters {
    Filters { users: vec![name.to_owned()], ..Filters::default() }
}

async fn refusal(filters: Filters, lake: Option<&Arc<Lake>>) -> (Kind, String, String) {
    let error: Error = resolve_names(filters, &api(directory()), lake).await.unwrap_err();
    (error.kind(), error.to_string(), error.hint_text().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn names_become_ids_by_the_lists_of_the_source() {
    let source = api(directory());
    let wanted = Filters { divisions: vec!["HOME".to_owned()], ..queues(&["sales emea", "Support", QUEUE]) };
    let resolved = resolve_names(wanted, &source, None).await.unwrap();
    assert_eq!(
        (resolved.queues, resolved.divisions),
        (vec![QUEUE.to_owned(), "q1".into(), "q3".into()], vec!["d1".into()])
    );
    assert_eq!(source.stats().calls, 2, "each list is asked for once");

    let idle = api(directory());
    assert_eq!(resolve_names(queues(&[QUEUE]), &idle, None).await.unwrap(), queues(&[QUEUE]));
    assert_eq!(idle.stats().calls, 0, "ids cost no call");
}

#[tokio::test(start_paused = true)]
async fn a_name_of_several_and_a_name_of_nobody_are_refused() {
    let (kind, said, _) = refusal(queues(&["SUPPORT"]), None).await;
    assert_eq!((kind, said.as_str()), (Kind::Usage, "--queue `SUPPORT` is the name of 2 queues: q1, q2"));
    let (kind, said, hint) = refusal(queues(&["Suport"]), None).await;
    assert_eq!(
        (kind, said.as_str()),
        (Kind::Usage, "--queue `Suport` is neither an id (a UUID) nor the name of a queue")
    );
    assert!(hint.contains("`Support` (q1)") && hint.contains("--allow-unknown"), "{hint}");
    // What people are called stays out of messages.
    let (_, said, _) = refusal(users("ada quill"), None).await;
    assert!(said.ends_with("2 users: u1, u2"), "{said}");
    let (_, said, hint) = refusal(users("Bo Red"), None).await;
    assert!(hint.contains("u3") && !format!("{said}{hint}").contains("Reed"), "{said} {hint}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_the_client_may_not_read_is_named_with_its_permission() {
    let skills = Filters { skills: vec!["French".to_owned()], ..Filters::default() };
    let (kind, said, hint) = refusal(skills, None).await;
    assert_eq!(kind, Kind::Access, "{said}");
    assert!(
        said.contains("--skill `French` is no id (a UUID)") && hint.contains("routing > skill > view"),
        "{said} {hint}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_the_lake_is_asked_before_the_source() {
    let org = Org::new(SimulatorSettings::default(), "2025-06-01T00:00:00Z");
    org.export("query", "2025-03-01", "2025-03-02").await;
    let lake = Lake::open_existing(&org.lake()).unwrap();
    assert_eq!(lake.names("queues").unwrap(), None);
    let own = Api::new(common::through::settings(&org.simulator), org.simulator.transport(), org.clock);
    let only = vec!["queues".to_owned(), "skills".to_owned()];
    for day in ["2025-05-30", "2025-05-31"] {
        let request =
            convlake::export::DimensionsRequest { lake: String::new(), day: day.parse().unwrap(), only: only.clone() };
        let report = convlake::export::dimensions(request, &own, &lake, org.clock, std::future::pending()).await;
        assert_eq!(report.exit, 0, "{report:?}");
    }
    let names = lake.names("queues").unwrap().unwrap();
    assert_eq!(names.day, "2025-05-31".parse().unwrap());
    let row = duckdb(&format!("SELECT id, name FROM {} ORDER BY id LIMIT 1", table(&org.lake(), "queues")));
    let (id, name) = (row[0]["id"].as_str().unwrap(), row[0]["name"].as_str().unwrap());

    let source = api(Lists(BTreeMap::new()));
    let resolved = resolve_names(queues(&[&name.to_uppercase()]), &source, Some(&lake)).await.unwrap();
    assert_eq!((resolved.queues, source.stats().calls), (vec![id.to_owned()], 0));
    // A queue that is newer than the snapshot is asked for at the source.
    let newer = resolve_names(queues(&["Sales EMEA"]), &api(directory()), Some(&lake)).await.unwrap();
    assert_eq!(newer.queues, ["q3"]);
    // And where the client may not, the snapshot's near names are told.
    let skill = &lake.names("skills").unwrap().unwrap().all[0];
    let typed = Filters { skills: vec![format!("{}x", skill.name)], ..Filters::default() };
    let (kind, said, hint) = refusal(typed, Some(&lake)).await;
    assert_eq!(kind, Kind::Usage, "{said}");
    assert!(said.contains("2025-05-31") && hint.contains(&skill.id), "{said} {hint}");
    assert!(Path::new(&org.lake()).is_dir());
}
