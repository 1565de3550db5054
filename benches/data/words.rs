//! What conversations are about: names, codes and ids that come again and again.

use super::dice::Dice;
use super::json::push_id;

/// Names of people and lines, escaped as JSON wants it.
pub(crate) const NAMES: [&str; 12] = [
    "Ana María Pérez",
    "John O'Neil",
    "Chloë Dubois",
    r#"Jan \"JJ\" Novák"#,
    "Li Wei",
    "MOBILE CALLER",
    "Unknown",
    "Grace Hopper",
    "Zoë Müller",
    "Sam Smith",
    r"New York\tNY",
    "Out Of Area",
];
pub(crate) const NOTES: [&str; 6] = [
    r"Customer asked for a refund.\nCalled back later",
    "Resuelto en la primera llamada",
    "ok",
    r#"See ticket \"4711\""#,
    "Überweisung geprüft – alles in Ordnung",
    "transferred to tier 2, customer very unhappy with wait time",
];
pub(crate) const DIRECTIONS: [&str; 2] = ["inbound", "outbound"];
pub(crate) const MEDIA: [&str; 11] =
    ["voice", "voice", "voice", "voice", "voice", "voice", "message", "message", "email", "chat", "callback"];
/// Who takes part after the customer, in their order.
pub(crate) const JOURNEYS: [&[&str]; 6] = [
    &["agent"],
    &["ivr", "acd", "agent"],
    &["ivr", "acd", "agent"],
    &["ivr", "acd", "agent", "acd", "agent"],
    &["acd", "agent", "external"],
    &["ivr"],
];
pub(crate) const SEGMENT_TYPES: [&str; 9] =
    ["alert", "contacting", "dialing", "hold", "interact", "ivr", "delay", "system", "wrapup"];
pub(crate) const DISCONNECTS: [&str; 8] =
    ["client", "peer", "endpoint", "transfer", "system", "timeout", "conferenceTransfer", "error"];
const AGENT_METRICS: [&str; 20] = [
    "tAlert",
    "tAnswered",
    "tTalk",
    "tTalkComplete",
    "tHeld",
    "tHeldComplete",
    "tAcw",
    "tHandle",
    "nTransferred",
    "nBlindTransferred",
    "tAgentResponseTime",
    "tNotResponding",
    "nConsult",
    "tContacting",
    "tDialing",
    "nOutbound",
    "nConnected",
    "tConnected",
    "tUserResponseTime",
    "nConsultTransferred",
];
const QUEUE_METRICS: [&str; 11] = [
    "nOffered",
    "tAcd",
    "tWait",
    "tAbandon",
    "oServiceLevel",
    "oServiceTarget",
    "nOverSla",
    "tFlowOut",
    "tShortAbandon",
    "tVoicemail",
    "nError",
];
const CUSTOMER_METRICS: [&str; 11] = [
    "tIvr",
    "nConnected",
    "tConnected",
    "oMediaCount",
    "oExternalMediaCount",
    "oMessageTurn",
    "tFirstConnect",
    "tFirstDial",
    "nStateTransitionError",
    "tVoicemail",
    "nBotInteractions",
];

/// The metrics that a participant's sessions have.
pub(crate) fn metrics(purpose: &str) -> &'static [&'static str] {
    match purpose {
        "agent" => &AGENT_METRICS,
        "acd" => &QUEUE_METRICS,
        _ => &CUSTOMER_METRICS,
    }
}

/// Ids of what a contact centre has some of.
pub(crate) struct Pools {
    pub(crate) users: Vec<String>,
    pub(crate) queues: Vec<String>,
    pub(crate) flows: Vec<String>,
    pub(crate) skills: Vec<String>,
    pub(crate) wrap_ups: Vec<String>,
    pub(crate) divisions: Vec<String>,
    pub(crate) edges: Vec<String>,
    pub(crate) teams: Vec<String>,
    pub(crate) scripts: Vec<String>,
    pub(crate) languages: Vec<String>,
    pub(crate) forms: Vec<String>,
}

impl Pools {
    pub(crate) fn new(dice: &mut Dice) -> Pools {
        let mut ids = |number: usize| (0..number).map(|_| id(dice)).collect();
        Pools {
            users: ids(400),
            queues: ids(60),
            flows: ids(40),
            skills: ids(40),
            wrap_ups: ids(30),
            divisions: ids(12),
            edges: ids(20),
            teams: ids(15),
            scripts: ids(10),
            languages: ids(5),
            forms: ids(8),
        }
    }
}

/// One to three different ones of `pool`.
pub(crate) fn some_of<'a>(pool: &'a [String], dice: &mut Dice) -> impl Iterator<Item = &'a str> + use<'a> {
    let number = dice.between(1, 3) as usize;
    let first = dice.place(pool);
    let step = dice.between(1, pool.len() as u64 / 3 - 1) as usize;
    (0..number).map(move |n| pool[(first + n * step) % pool.len()].as_str())
}

fn id(dice: &mut Dice) -> String {
    let mut text = Vec::with_capacity(36);
    push_id(&mut text, dice.bytes());
    text.into_iter().map(char::from).collect()
}
